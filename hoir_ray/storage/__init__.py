"""Storage of sweeps: local folders and `s3://` behind one class, with locks, manifests and background uploads."""

from __future__ import annotations

from pathlib import Path

from hoir_ray.machine.addresses import check_bucket_uri, check_web_address, s3_endpoint
from hoir_ray.storage.check import check_storage
from hoir_ray.storage.contract import MissingObjectError, StoredObject, UnreadableObjectError
from hoir_ray.storage.keys import check_folder
from hoir_ray.storage.local import LocalBackend
from hoir_ray.storage.lock import Lease, Lock, LockedError, acquire_lock, read_lease
from hoir_ray.storage.store import Storage
from hoir_ray.storage.uploader import BackgroundUploader

__all__ = [
    "BackgroundUploader",
    "Lease",
    "Lock",
    "LockedError",
    "MissingObjectError",
    "Storage",
    "StoredObject",
    "UnreadableObjectError",
    "acquire_lock",
    "check_storage",
    "open_storage",
    "read_lease",
]


def open_storage(uri: str, *, endpoint_url: str | None = None) -> Storage:
    """Storage in a folder, or in a bucket for `s3://bucket/prefix`. Nothing is touched yet.

    Args:
        endpoint_url: Of an S3-compatible server; AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_S3 count otherwise.

    Raises:
        RequestError: If the address is not one of the two, or holds a secret.
    """
    check_bucket_uri(uri, source="storage.uri")
    if not uri.startswith("s3://"):
        return Storage(LocalBackend(Path(uri).expanduser().absolute()))
    from hoir_ray.storage.s3 import S3Backend  # here because boto3 would cost every start of the program 0.3 s

    if endpoint_url:
        check_web_address(endpoint_url, source="storage.endpoint_url")
    else:
        s3_endpoint()
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return Storage(S3Backend(bucket, check_folder(prefix.strip("/")), endpoint_url=endpoint_url or None))
