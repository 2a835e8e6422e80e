"""Files that are replaced whole or not at all, and what an operating system's error means for a user."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from hoir_ray.errors import RequestError

RESERVED = ".hoir-"  # begins the names of unfinished files
UNFINISHED = f"{RESERVED}part-"
_CHUNK_BYTES = 2**20
_JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information"}


@contextlib.contextmanager
def open_regular(path: Path, *, max_bytes: int | None = None) -> Iterator[io.BufferedReader]:
    """Open a file to read that is a file: no pipe, which would wait for ever, and no device, which would never end.

    Args:
        max_bytes: The most that it may hold.

    Raises:
        OSError: As `open` does, EINVAL for what is no regular file, EFBIG for one that holds more.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise (_no_file(path) if error.errno == errno.ENXIO else error) from None  # a socket
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
        if not stat.S_ISREG(found.st_mode):
            raise _no_file(path)
        if max_bytes is not None and found.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"holds {found.st_size:,} bytes, of {max_bytes:,} that it may have", str(path))
        yield file


def read_regular(path: Path, *, max_bytes: int) -> bytes:
    """The bytes of a regular file, at most `max_bytes`; errors as in `open_regular`."""
    with open_regular(path, max_bytes=max_bytes) as file:
        return read_at_most(file, max_bytes)


def read_at_most(file: BinaryIO, max_bytes: int) -> bytes:
    """Read what is there up to `max_bytes`, in memory for what is there alone: `read` takes the most at once."""
    parts, left = [], max_bytes
    while left > 0 and (part := file.read(min(left, _CHUNK_BYTES))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


@contextlib.contextmanager
def append_regular(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write at its end, new or regular: no pipe or device, nor a link that would lead elsewhere.

    Raises:
        OSError: As `open` does, EINVAL for what is no regular file, ELOOP for a link.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        raise (_no_file(path) if error.errno == errno.ENXIO else error) from None  # nobody reads the pipe
    with os.fdopen(descriptor, "ab") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _no_file(path)
        yield file


def _no_file(path: Path) -> OSError:
    return OSError(errno.EINVAL, "is a pipe, a socket or a device, not a regular file", str(path))


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` when the block ends well, and leaves no trace when it does not.

    Args:
        durable: Wait until the disk has it; not worth its time where a crash of the machine may cost the file.
    """
    with replacing_path(path, durable=durable) as temporary, temporary.open("xb") as file:
        yield file


@contextlib.contextmanager
def replacing_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Replace a file as `replacing` does, for a writer that opens files itself: yields the path, of the same suffix."""
    if path.is_block_device() or path.is_char_device():  # which the whole system would miss, such as /dev/null
        raise _no_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{UNFINISHED}{uuid.uuid4().hex}{path.suffix}"
    try:
        yield temporary
        if temporary.exists():  # where several processes take part, one of them writes
            if durable:
                _fsync(temporary)
            temporary.replace(path)
            if durable:
                with contextlib.suppress(OSError):  # refused by some network file systems, where renames are atomic too
                    _fsync(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def try_destination(path: Path, *, is_folder: bool = False, source: str) -> None:
    """Find out before the work whether its result can be written, and leave no trace of that.

    Args:
        is_folder: A folder is to be made there, which must not hold anything yet; otherwise a file.
        source: What named the place, such as `--out`, for the message.

    Raises:
        RequestError: If nothing can be written there, or what is there is in the way.
    """
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()
        if path.is_dir() and not is_folder:
            raise RequestError(f"{source} {path}: is a folder; name a file in it")
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise RequestError(f"{source} {path}: is a pipe, a socket or a device; name a file")
        if is_folder and path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RequestError(f"{source} {path}: exists and is not an empty folder; choose another")
        names = [name for name in path.absolute().parts if len(os.fsencode(name)) > 255]
        if names:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), f"{names[0][:60]}…")
        beside = next(p for p in path.absolute().parents if p.exists())
        if not beside.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is a file", str(beside))
        trial = beside / f"{UNFINISHED}{uuid.uuid4().hex}"
        trial.touch(exist_ok=False)
        trial.unlink()
    except ValueError as error:  # a zero byte, or half a pair
        raise RequestError(f"{source} {str(path)!r}: is no name of a file: {error}") from None
    except OSError as error:
        raise RequestError(f"{source} {path}: cannot be written: {reason(error)}") from None


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


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_json(value: object) -> bytes:
    """Indented JSON with sorted keys kept in the order given, ending in a newline."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
