"""Addresses of servers and buckets, refused where they come in when they hold a secret or are none."""

from __future__ import annotations

import contextlib
import os
import re
from urllib.parse import urlsplit

from hoir_ray.errors import RequestError, masked

S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def check_web_address(url: str, *, source: str) -> str:
    """Return `url` without a closing slash, when it is the address of a web server and holds nobody's secret.

    Args:
        source: The setting or variable that it came from, for the message.

    Raises:
        RequestError: If it has no scheme, host or usable port, or has a user, password, query or fragment.
    """
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if (
            parts.scheme in ("http", "https")
            and parts.hostname
            and parts.port != 0
            and not re.search(r"[@?#\s\x00-\x20\x7f]", url)
        ):
            return url.rstrip("/")
    raise RequestError(
        f"{source}: must be like https://host:port, without a user, password or query, got {masked(url)[:200]!r}"
    )


def check_bucket_uri(uri: str, *, source: str) -> str:
    """Return `uri` itself, when it is a folder, or a bucket and a prefix without anybody's key.

    Raises:
        RequestError: If it is of another scheme, or has a user, password or query.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
    if (scheme is None and uri.strip() and "\0" not in uri) or re.fullmatch(
        r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,62}(?:/[^?#]*)?", uri
    ):
        return uri
    raise RequestError(
        f"{source}: must be a folder or s3://bucket/prefix, without a key, password or query, got {masked(uri)[:200]!r}"
    )


def s3_endpoint() -> str | None:
    """Return the S3-compatible server that the environment names.

    Raises:
        RequestError: If it is no address, or holds a secret.
    """
    name = next((name for name in S3_ENDPOINTS if os.environ.get(name)), None)
    return check_web_address(os.environ[name], source=name) if name else None
