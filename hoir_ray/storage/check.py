"""Check of a storage before the first trial: everything that a sweep does there, done once to one small object."""

from __future__ import annotations

import contextlib
import uuid

from hoir_ray.errors import StorageError
from hoir_ray.storage.store import Storage


def check_storage(storage: Storage, *, min_free_bytes: int = 100_000_000) -> None:
    """Write, read, write conditionally, list and delete one object, and look at the free space.

    Raises:
        StorageError: Saying what could not be done, where, and which permission it takes.
    """
    storage.backend.check_space(min_free_bytes=min_free_bytes)
    folder = f"preflight-{uuid.uuid4().hex}"
    key = f"{folder}/object"
    storage.put(key, b"first")
    try:
        _check_object(storage, folder, key)
    finally:
        with contextlib.suppress(StorageError):  # the first failure is the one to show
            storage.delete_all(folder)
    if storage.exists(key):
        raise StorageError(f"{storage.describe()}: an object was still there after it had been deleted")


def _check_object(storage: Storage, folder: str, key: str) -> None:
    where = storage.describe()
    data, etag = storage.get_version(key)
    if data != b"first":
        raise StorageError(f"{where}: an object was read back as {data[:20]!r} and not as it was written")
    if storage.put(key, b"second", if_absent=True):
        raise StorageError(f"{where}: does not support conditional writes (If-None-Match), which the lock needs")
    if storage.swap(key, b"third", etag=etag) is None or storage.swap(key, b"fourth", etag=etag) is not None:
        raise StorageError(f"{where}: does not support conditional writes (If-Match), which the lock needs")
    if [o.key for o in storage.list(folder)] != [key]:
        raise StorageError(f"{where}: a listing does not show an object that was just written")
    storage.delete(key)
