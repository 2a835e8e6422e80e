"""Both storage backends for tests, and impatient ones for faults that never end."""

from __future__ import annotations

from hoir_ray.storage import Storage
from hoir_ray.storage.s3 import RetryPolicy, S3Backend
from tests.servers.s3_proxy import S3Proxy


def impatient(proxy: S3Proxy, folder: str, *, attempts: int = 2, timeout_s: float = 2.0) -> Storage:
    """S3 storage through the proxy that gives up after seconds and not after minutes."""
    retry_policy = RetryPolicy(attempts=attempts, connect_timeout_s=timeout_s, read_timeout_s=timeout_s)
    bucket, _, prefix = folder.partition("/")
    return Storage(S3Backend(bucket, prefix, endpoint_url=proxy.endpoint_url, retry_policy=retry_policy))
