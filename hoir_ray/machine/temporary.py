"""Temporary folders that their process holds by a lock, so that what a killed one has left can be told and removed."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "hoir."
RAY = "ray"  # such a folder's processes have to end first; see `cluster.leftovers`


@contextlib.contextmanager
def temporary_folder(kind: str, *, within: Path | None = None) -> Iterator[Path]:
    """A private folder for the time of the block, such as `hoir.trial-x2k8d3fa`.

    The first one of a process also removes what killed processes have left in the same place.

    Args:
        kind: What it is for; part of its name.
        within: Where it is made, in place of what TMPDIR names now.
    """
    folder, lock = _make(kind, temporary_place() if within is None else within)
    try:
        yield folder
    finally:
        _end(folder, lock)


def folder_until_exit(kind: str) -> Path:
    """Make a folder as `temporary_folder` does, which stays until this process ends."""
    folder, lock = _make(kind, temporary_place())
    atexit.register(_end, folder, lock, os.getpid())
    return folder


@contextlib.contextmanager
def left_folder(folder: Path) -> Iterator[bool]:
    """Find out whether a folder is one of ours that nobody holds any more, and keep it so for the time of the block.

    Links, folders of other users and what is not named as ours do not count, nor what no process could hold, as on
    some network file systems.
    """
    lock = None
    if folder.name.startswith(_PREFIX):
        with contextlib.suppress(OSError):
            lock = _open(folder)
    try:
        yield lock is not None and os.fstat(lock).st_uid == os.getuid() and _is_free(lock)
    finally:
        if lock is not None:
            os.close(lock)


def folders_of(kind: str, *, within: Path) -> list[Path]:
    """Folders of a kind, whoever holds them; every kind where it is empty."""
    with contextlib.suppress(OSError), os.scandir(within) as entries:
        return [within / e.name for e in entries if e.name.startswith(f"{_PREFIX}{kind}-" if kind else _PREFIX)]
    return []


@functools.cache
def _remove_left(within: Path) -> None:
    for folder in folders_of("", within=within):
        if not folder.name.startswith(f"{_PREFIX}{RAY}-"):
            with left_folder(folder) as is_left:
                if is_left:
                    shutil.rmtree(folder, ignore_errors=True)


def temporary_place() -> Path:
    """Folder that TMPDIR names now, or where there is none Python's choice."""
    named = Path(os.environ.get("TMPDIR") or tempfile.gettempdir())  # Python remembers its first answer
    return (named if os.access(named, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())).resolve()


def _make(kind: str, within: Path) -> tuple[Path, int]:
    _remove_left(within)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-", dir=within))
        lock = _open(folder)
        with contextlib.suppress(OSError):  # some network file systems have none; nobody removes what has none
            fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):  # another process may have found it before it was held
            if folder.stat().st_ino == os.fstat(lock).st_ino:
                return folder, lock
        os.close(lock)


def _end(folder: Path, lock: int, owner: int | None = None) -> None:
    if owner is None or owner == os.getpid():  # a forked process has its hooks too
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(lock)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
