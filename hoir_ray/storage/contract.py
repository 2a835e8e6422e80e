"""The contract of a storage backend, and the errors and records that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from hoir_ray.errors import StorageError

MAX_OBJECT_BYTES = 2**30  # of one that is read into memory; a file may be larger


class MissingObjectError(StorageError):
    """There is no object under this key."""


class UnreadableObjectError(StorageError):
    """There is no object but a pipe or a device under this key, or one larger than what is read into memory."""


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One object as a listing shows it; `etag` is None where the backend would have to read the object to know."""

    key: str
    size_bytes: int
    modified: datetime
    etag: str | None


class Backend(Protocol):
    """Bytes under checked keys. Every failure is one StorageError that says what failed, where, and what is needed.

    Backends are picklable, because workers on other machines open the same storage.
    """

    @property
    def uri(self) -> str:
        """The address that opens the same place again."""

    @property
    def endpoint_url(self) -> str | None:
        """Address of the server, where it is named; None for the usual one, and for none."""

    def describe(self) -> str:
        """The place in words, for messages."""

    def child(self, name: str) -> Backend:
        """The same backend one name deeper."""

    def write(self, key: str, data: bytes, *, if_absent: bool, if_match: str | None) -> str | None:
        """Write whole or not at all; the new etag, or None when the condition does not hold."""

    def write_file(self, key: str, path: Path) -> None:
        """Write a file's content, which may be larger than memory."""

    def read(self, key: str) -> tuple[bytes, str]:
        """Content and etag. Raises MissingObjectError."""

    def read_file(self, key: str, path: Path) -> None:
        """Write an object's content into `path`, which is replaced whole or not at all."""

    def exists(self, key: str) -> bool: ...

    def list(self, folder: str) -> list[StoredObject]:
        """List everything below `folder` ("" for all), sorted by key."""

    def folders(self) -> Sequence[str]:
        """List the names of the folders that lie directly here, sorted, without a look into them."""

    def delete(self, key: str) -> None:
        """Delete one object; not an error when there is none."""

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Delete several objects; not an error when one is missing."""

    def delete_all(self, folder: str) -> None:
        """Delete everything below `folder`."""

    def check_space(self, *, min_free_bytes: int) -> None:
        """Raise StorageError when less than this can still be written, where that is knowable."""
