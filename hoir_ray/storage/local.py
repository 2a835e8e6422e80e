"""Storage in a local or shared folder: every write is a temporary file, fsync and rename."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hoir_ray.errors import StorageError
from hoir_ray.machine.files import RESERVED, append_regular, open_regular, read_regular, reason, replacing
from hoir_ray.storage.contract import MAX_OBJECT_BYTES, MissingObjectError, StoredObject, UnreadableObjectError

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class LocalBackend:
    """Objects are plain files below `root`, which is made by the first write."""

    root: Path

    @property
    def uri(self) -> str:
        return str(self.root)

    @property
    def endpoint_url(self) -> None:
        return None

    def describe(self) -> str:
        return f"folder {self.root}"

    def child(self, name: str) -> LocalBackend:
        return LocalBackend(self.root / name)

    def write(self, key: str, data: bytes, *, if_absent: bool, if_match: str | None) -> str | None:
        with self._explained("write", key):
            path = self._path(key)
            if not if_absent and if_match is None:
                with replacing(path) as file:
                    file.write(data)
                return _etag(data)
            path.parent.mkdir(parents=True, exist_ok=True)
            with _exclusive(path.parent):
                if (_etag(read_regular(path, max_bytes=MAX_OBJECT_BYTES)) if path.exists() else None) != if_match:
                    return None
                with replacing(path) as file:
                    file.write(data)
            return _etag(data)

    def write_file(self, key: str, path: Path) -> None:
        with self._explained("write", key), open_regular(path) as source, replacing(self._path(key)) as file:
            shutil.copyfileobj(source, file, _CHUNK_BYTES)

    def read(self, key: str) -> tuple[bytes, str]:
        with self._explained("read", key):
            data = read_regular(self._path(key), max_bytes=MAX_OBJECT_BYTES)
            return data, _etag(data)

    def read_file(self, key: str, path: Path) -> None:
        with self._explained("read", key), open_regular(self._path(key)) as source, replacing(path) as file:
            shutil.copyfileobj(source, file, _CHUNK_BYTES)

    def exists(self, key: str) -> bool:
        with self._explained("look at", key):
            return self._path(key).is_file()

    def list(self, folder: str) -> list[StoredObject]:
        with self._explained("list", folder):
            found = []
            for path in self._files(folder):
                with contextlib.suppress(FileNotFoundError):  # deleted since it was seen
                    status = path.stat()
                    modified = datetime.fromtimestamp(status.st_mtime, tz=UTC)
                    key = path.relative_to(self.root).as_posix()
                    found.append(StoredObject(key=key, size_bytes=status.st_size, modified=modified, etag=None))
            return sorted(found, key=lambda o: o.key)

    def folders(self) -> Sequence[str]:
        with self._explained("list", ""), contextlib.suppress(FileNotFoundError), os.scandir(self.root) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(RESERVED) and e.is_dir())
        return []

    def delete(self, key: str) -> None:
        with self._explained("delete", key), contextlib.suppress(FileNotFoundError):
            self._path(key).unlink()

    def delete_keys(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.delete(key)
            with contextlib.suppress(OSError):  # a folder that is empty now goes too, as it would in a bucket
                self._path(key).parent.rmdir()

    def delete_all(self, folder: str) -> None:
        with self._explained("delete", folder), contextlib.suppress(FileNotFoundError):
            path = self._path(folder) if folder else self.root
            if path.is_dir():
                shutil.rmtree(path)

    def check_space(self, *, min_free_bytes: int) -> None:
        with self._explained("measure free space of", ""):
            free = shutil.disk_usage(next(p for p in (self.root, *self.root.parents) if p.exists())).free
        if free < min_free_bytes:
            raise StorageError(f"{self.describe()}: {free:,} bytes are free, at least {min_free_bytes:,} are needed")

    def _path(self, key: str) -> Path:
        """The file of a key; links that would lead out of the root are refused."""
        path = self.root / key
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise StorageError(f"{self.describe()}: '{key}' leads outside through a symbolic link")
        return path

    def _files(self, folder: str) -> Iterator[Path]:
        top = self._path(folder) if folder else self.root
        if top.exists() and not top.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is a file, not a folder", str(top))
        for parent, _, names in os.walk(top, onerror=_raise_unless_missing):
            for name in names:
                path = Path(parent, name)
                if not name.startswith(RESERVED) and not path.is_symlink():
                    yield path

    @contextlib.contextmanager
    def _explained(self, action: str, key: str) -> Iterator[None]:
        where = f"{self.describe()}: cannot {action} '{key}'" if key else f"{self.describe()}: cannot {action} it"
        try:
            yield
        except FileNotFoundError as error:
            raise MissingObjectError(f"{self.describe()}: there is no '{key}'") from error
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.EFBIG}:
                raise UnreadableObjectError(f"{where}: {reason(error)}") from error
            raise StorageError(f"{where}: {reason(error)}") from error


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """One conditional write at a time, over processes, and over hosts where the file system carries flock, as NFS."""
    with append_regular(folder / f"{RESERVED}exclusive") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
