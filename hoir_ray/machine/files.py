"""Files that are replaced whole or not at all, and what an operating system's error means for a user."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

RESERVED = ".hoir-"  # begins the names of unfinished files
UNFINISHED = f"{RESERVED}part-"
_JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information"}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` when the block ends well, and leaves no trace when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{UNFINISHED}{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _fsync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def files_below(folder: Path) -> Iterator[Path]:
    """Files in the folder and below it, sorted, through links too, but each folder and each linked file once.

    Hidden ones are left out, and what operating systems put beside the files of their users.
    """
    seen: set[tuple[int, int]] = set()
    _is_first(folder, seen)
    linked: list[Path] = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        here = Path(parent)
        folders[:] = sorted(n for n in folders if not _is_junk(n) and _is_first(here / n, seen))
        for path in (here / name for name in sorted(names) if not _is_junk(name)):
            if path.is_symlink():
                linked.append(path)
            elif path.is_file() and _is_first(path, seen):
                yield path
    yield from (path for path in linked if path.is_file() and _is_first(path, seen))


def _is_first(path: Path, seen: set[tuple[int, int]]) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    known = (status.st_dev, status.st_ino) in seen
    seen.add((status.st_dev, status.st_ino))
    return not known


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def reason(error: OSError) -> str:
    """The cause of a failed file operation in a few words, with what mends it."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "the disk is full or its quota is used up; free some space and run the same command again"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"permission denied for {error.filename}; choose a folder that this user may write"
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        path = Path(error.filename)
        file = next((p for p in (path, *path.parents) if p.is_file()), path)
        return f"{file} is a file where a folder is needed"
    if error.errno == errno.EISDIR:
        return f"{error.filename} is a folder, not an object"
    return f"{error.strerror} ({error.filename})"


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse it; the rename itself is atomic there too
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_json(value: object) -> bytes:
    """Indented JSON with sorted keys kept in the order given, ending in a newline."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
