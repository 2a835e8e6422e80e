"""Storage in a bucket of S3 or a compatible server; the only home of boto3.

Needs no right beyond one prefix: s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload, and
s3:ListBucket with that prefix. Credentials, region and profile come from where every AWS tool takes them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import botocore.config
import botocore.exceptions
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig

from hoir_ray.errors import StorageError
from hoir_ray.machine.addresses import s3_endpoint
from hoir_ray.machine.files import reason, replacing
from hoir_ray.storage.contract import MAX_OBJECT_BYTES, MissingObjectError, StoredObject, UnreadableObjectError
from hoir_ray.storage.s3_errors import code_of, explain

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

_PART_BYTES = 8 << 20
_CONFLICT_TRIES = 5  # 409: AWS asks to repeat a conditional write that met another one in flight
_BROKEN_OFF = (
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.ResponseStreamingError,
    botocore.exceptions.ReadTimeoutError,
    botocore.exceptions.FlexibleChecksumError,
)


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Timeouts and number of attempts of a request to S3."""

    attempts: int = 10
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0


@dataclass(frozen=True)
class S3Backend:
    """Objects below `prefix`, which may be empty, of one bucket."""

    bucket: str
    prefix: str
    endpoint_url: str | None = None
    retry_policy: RetryPolicy = RetryPolicy()
    _clients: list[S3Client] = field(default_factory=list, repr=False, compare=False)  # shared with children

    def __reduce__(self) -> tuple[Callable[..., S3Backend], tuple[Any, ...]]:
        return S3Backend, (self.bucket, self.prefix, self.endpoint_url, self.retry_policy)

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def describe(self) -> str:
        endpoint = self.endpoint_url or s3_endpoint()
        return f"{self.uri} at {endpoint}" if endpoint else self.uri

    def child(self, name: str) -> S3Backend:
        return S3Backend(self.bucket, self._path(name), self.endpoint_url, self.retry_policy, self._clients)

    def write(self, key: str, data: bytes, *, if_absent: bool, if_match: str | None) -> str | None:
        condition = {"IfNoneMatch": "*"} if if_absent else {"IfMatch": if_match} if if_match else {}
        with self._explained("write", key, permission="s3:PutObject"):
            for last in [False] * (_CONFLICT_TRIES - 1) + [True]:
                try:
                    answer = self._client.put_object(**self._at(key), Body=data, **condition)  # type: ignore[arg-type]
                    return answer["ETag"]
                except botocore.exceptions.ClientError as error:
                    if condition and code_of(error) == "ConditionalRequestConflict" and not last:
                        time.sleep(0.2)
                    elif condition and code_of(error) in {"PreconditionFailed", "412", "NoSuchKey"}:
                        return self._own_write(key, data, error)
                    else:
                        raise
        raise AssertionError("the last attempt returns or raises")

    def write_file(self, key: str, path: Path) -> None:
        with self._explained("write", key, permission="s3:PutObject"):
            if path.stat().st_size < _PART_BYTES:
                self._client.put_object(**self._at(key), Body=path.read_bytes())
            else:
                transfer = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES)
                self._client.upload_file(str(path), self.bucket, self._path(key), Config=transfer)

    def read(self, key: str) -> tuple[bytes, str]:
        def attempt() -> tuple[bytes, str]:
            answer = self._client.get_object(**self._at(key))
            with contextlib.closing(answer["Body"]) as body:
                if answer["ContentLength"] > MAX_OBJECT_BYTES:
                    raise UnreadableObjectError(
                        f"{self.describe()}: '{key}' holds {answer['ContentLength']:,} bytes, of {MAX_OBJECT_BYTES:,} "
                        "that are read"
                    )
                return body.read(), answer["ETag"]

        return self._read(key, attempt)

    def read_file(self, key: str, path: Path) -> None:
        def attempt() -> None:
            answer = self._client.get_object(**self._at(key))
            with contextlib.closing(answer["Body"]) as body, replacing(path) as file:
                for chunk in body.iter_chunks(1 << 20):
                    file.write(chunk)

        self._read(key, attempt)

    def exists(self, key: str) -> bool:
        # Not HeadObject: where s3:ListBucket is granted for a prefix alone, it answers 403 for what is not there.
        with self._explained("look for", key, permission="s3:ListBucket"):
            answer = self._client.list_objects_v2(Bucket=self.bucket, Prefix=self._path(key), MaxKeys=1)
            return any(o["Key"] == self._path(key) for o in answer.get("Contents", []))

    def list(self, folder: str) -> list[StoredObject]:
        start = len(self.prefix) + 1 if self.prefix else 0
        found = []
        with self._explained("list", folder, permission="s3:ListBucket"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._below(folder)
            )
            for item in (o for page in pages for o in page.get("Contents", [])):
                if not item["Key"].endswith("/"):  # consoles make empty objects that stand for folders
                    etag, modified = item.get("ETag"), item["LastModified"]
                    key = item["Key"][start:]
                    found.append(StoredObject(key=key, size_bytes=item["Size"], modified=modified, etag=etag))
        return sorted(found, key=lambda o: o.key)

    def folders(self) -> Sequence[str]:
        below = self._below("")
        with self._explained("list", "", permission="s3:ListBucket"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=below, Delimiter="/"
            )
            found = (o["Prefix"] for page in pages for o in page.get("CommonPrefixes", []))
            return sorted(name for p in found if (name := p[len(below) :].removesuffix("/")))

    def delete(self, key: str) -> None:
        with self._explained("delete", key, permission="s3:DeleteObject"):
            self._client.delete_object(**self._at(key))

    def delete_all(self, folder: str) -> None:
        self._delete([o.key for o in self.list(folder)], shown=folder)

    def delete_keys(self, keys: Sequence[str]) -> None:
        self._delete(keys, shown=keys[0] if keys else "")

    def _delete(self, keys: Sequence[str], *, shown: str) -> None:
        with self._explained("delete", shown, permission="s3:DeleteObject"):
            for start in range(0, len(keys), 1000):  # as many as one request takes
                batch = [{"Key": self._path(k)} for k in keys[start : start + 1000]]
                answer = self._client.delete_objects(Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True})  # type: ignore[typeddict-item]
                for failed in answer.get("Errors", [])[:1]:
                    raise botocore.exceptions.ClientError({"Error": dict(failed)}, "DeleteObjects")  # type: ignore[typeddict-item]

    def check_space(self, *, min_free_bytes: int) -> None:
        """Do nothing: a bucket has no size limit."""

    @property
    def _client(self) -> S3Client:
        if not self._clients:
            path_style = self.endpoint_url or s3_endpoint()  # servers of one host have no bucket.host names
            config = botocore.config.Config(
                connect_timeout=self.retry_policy.connect_timeout_s,
                read_timeout=self.retry_policy.read_timeout_s,
                retries={"mode": "standard", "total_max_attempts": self.retry_policy.attempts},
                s3={"addressing_style": "path" if path_style else "auto"},
                tcp_keepalive=True,
            )
            session = boto3.session.Session()
            self._clients.append(session.client("s3", endpoint_url=self.endpoint_url, config=config))
        return self._clients[0]

    def _path(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _below(self, folder: str) -> str:
        return "".join(f"{part}/" for part in (self.prefix, folder) if part)

    def _at(self, key: str) -> dict[str, Any]:
        return {"Bucket": self.bucket, "Key": self._path(key)}

    def _own_write(self, key: str, data: bytes, error: botocore.exceptions.ClientError) -> str | None:
        """The etag, if a refused conditional write was our own, repeated after its first answer was lost."""
        if error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0:
            with contextlib.suppress(MissingObjectError):
                found, etag = self.read(key)
                return etag if found == data else None
        return None

    def _read(self, key: str, attempt: Callable[[], T]) -> T:
        """Read, again when an answer breaks off: botocore repeats requests, but not the reading of their bodies."""
        with self._explained("read", key, permission="s3:GetObject"):
            for tries in range(1, self.retry_policy.attempts + 1):
                try:
                    return attempt()
                except _BROKEN_OFF:
                    if tries == self.retry_policy.attempts:
                        raise
                    time.sleep(min(0.1 * 2**tries, 10.0))
                except botocore.exceptions.ClientError as error:
                    code = code_of(error)
                    if code == "NoSuchKey" or (code == "AccessDenied" and self._is_absent(key)):
                        raise MissingObjectError(f"{self.describe()}: there is no '{key}'") from error
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _is_absent(self, key: str) -> bool:
        """Return whether a listing proves that there is no such object; reading one may answer 403 then."""
        with contextlib.suppress(StorageError):
            return not self.exists(key)
        return False

    @contextlib.contextmanager
    def _explained(self, action: str, key: str, *, permission: str) -> Iterator[None]:
        where = f"{self.describe()}: cannot {action} '{key}'" if key else f"{self.describe()}: cannot {action} it"
        try:
            yield
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, Boto3Error) as error:
            raise explain(error, where=where, bucket=self.bucket, permission=permission) from error
        except OSError as error:  # of the local file; some of botocore's errors above are OSErrors too
            raise StorageError(f"{where}: {reason(error)}") from error
