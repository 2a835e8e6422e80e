"""One storage over folders and S3: keys are checked here, bytes are moved by a backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hoir_ray.storage import manifest
from hoir_ray.storage.contract import Backend, StoredObject
from hoir_ray.storage.keys import check_folder, check_key, check_name


@dataclass(frozen=True)
class Storage:
    """Objects under keys such as `ledger/t1.json`; each is written whole or not at all, and replaced whole.

    A folder argument means what lies below it: "models/a" covers "models/a/x" and never "models/ab".
    All methods raise StorageError for what the backend cannot do and RequestError for an unsafe key.
    """

    backend: Backend

    @property
    def uri(self) -> str:
        """The address that opens the same place again, without any secret."""
        return self.backend.uri

    @property
    def endpoint_url(self) -> str | None:
        """Address of a bucket's server, where it is named; None for the usual one, and for a folder."""
        return self.backend.endpoint_url

    @property
    def folder(self) -> Path | None:
        """The folder on this machine, or None for a bucket."""
        return None if self.uri.startswith("s3://") else Path(self.uri)

    def describe(self) -> str:
        """The place in words, for messages."""
        return self.backend.describe()

    def child(self, name: str) -> Storage:
        """The storage one name deeper."""
        return Storage(self.backend.child(check_name(name)))

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write an object; False only when `if_absent` and there is one already."""
        return self.backend.write(check_key(key), data, if_absent=if_absent, if_match=None) is not None

    def swap(self, key: str, data: bytes, *, etag: str | None) -> str | None:
        """Write only over the version `etag`, or only a new object for None; the new etag, or None when it changed."""
        return self.backend.write(check_key(key), data, if_absent=etag is None, if_match=etag)

    def put_file(self, key: str, path: Path) -> None:
        """Write an object from a file."""
        self.backend.write_file(check_key(key), path)

    def get(self, key: str) -> bytes:
        """Read an object. Raises MissingObjectError."""
        return self.backend.read(check_key(key))[0]

    def get_version(self, key: str) -> tuple[bytes, str]:
        """Read an object and the etag that `swap` takes. Raises MissingObjectError."""
        return self.backend.read(check_key(key))

    def get_file(self, key: str, path: Path) -> None:
        """Read an object into a file, which is replaced whole or not at all. Raises MissingObjectError."""
        self.backend.read_file(check_key(key), path)

    def exists(self, key: str) -> bool:
        return self.backend.exists(check_key(key))

    def list(self, prefix: str = "") -> list[StoredObject]:
        """List everything below the folder `prefix`, sorted by key; empty when there is nothing."""
        return self.backend.list(check_folder(prefix))

    def folders(self) -> Sequence[str]:
        """List the names of the folders that lie directly here, sorted; they need not be safe names."""
        return self.backend.folders()

    def delete(self, key: str) -> None:
        """Delete one object; not an error when there is none."""
        self.backend.delete(check_key(key))

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Delete objects, as many at a time as the backend can."""
        self.backend.delete_keys([check_key(key) for key in keys])

    def delete_all(self, prefix: str) -> None:
        """Delete everything below the folder `prefix`."""
        self.backend.delete_all(check_folder(prefix))

    def put_folder(self, prefix: str, folder: Path) -> None:
        """Upload a folder, its manifest last.

        A prefix is best written once: while a folder is being replaced in place, readers are refused the mixture.
        """
        manifest.put_folder(self, prefix, folder)

    def get_folder(self, prefix: str, folder: Path) -> None:
        """Download what a manifest lists and verify it.

        Raises:
            MissingObjectError: If there is no manifest, whatever else there is.
            PackError: If an object is missing or is not what the manifest says.
        """
        manifest.get_folder(self, prefix, folder)
