"""Storage of sweeps: local folders and `s3://` behind one class, with locks, manifests and background uploads."""

from __future__ import annotations

import re
from pathlib import Path

from hoir_ray.errors import RequestError
from hoir_ray.storage.check import check_storage
from hoir_ray.storage.contract import MissingObjectError, StoredObject
from hoir_ray.storage.keys import check_folder
from hoir_ray.storage.local import LocalBackend
from hoir_ray.storage.lock import Lock, LockedError, acquire_lock
from hoir_ray.storage.store import Storage
from hoir_ray.storage.uploader import BackgroundUploader

__all__ = [
    "BackgroundUploader",
    "Lock",
    "LockedError",
    "MissingObjectError",
    "Storage",
    "StoredObject",
    "acquire_lock",
    "check_storage",
    "open_storage",
]


def open_storage(uri: str, *, endpoint_url: str | None = None) -> Storage:
    """Storage in a folder, or in a bucket for `s3://bucket/prefix`. Nothing is touched yet.

    Args:
        endpoint_url: Of an S3-compatible server; AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_S3 count otherwise.

    Raises:
        RequestError: If the address is not one of the two.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
    if scheme is None:
        if not uri.strip() or "\0" in uri:
            raise RequestError(f"storage.uri: must be a folder or s3://bucket/prefix, got {uri!r}")
        return Storage(LocalBackend(Path(uri).expanduser().absolute()))
    if scheme[1] != "s3":
        raise RequestError(f"storage.uri: must be a folder or s3://bucket/prefix, got a '{scheme[1]}://' address")
    from hoir_ray.storage.s3 import S3Backend  # here because boto3 would cost every start of the program 0.3 s

    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", bucket):  # also keeps key:secret@bucket out of messages
        raise RequestError(
            "storage.uri: s3:// must be followed by a bucket name (letters, digits, '.', '-') and nothing else"
        )
    if endpoint_url and not re.fullmatch(r"https?://[^/@?#\s]+/?", endpoint_url):
        raise RequestError("storage.endpoint_url: must be like https://host:port, without a user, path or query")
    return Storage(S3Backend(bucket, check_folder(prefix.strip("/")), endpoint_url=endpoint_url))
