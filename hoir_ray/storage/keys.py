"""Keys that mean the same object in every backend and never lead out of it."""

from __future__ import annotations

import unicodedata

from hoir_ray.errors import RequestError
from hoir_ray.machine.files import RESERVED

INPUTS = "inputs"  # folder of a root, beside its sweeps: data that was stored for machines that lack it
MAX_KEY_BYTES = 900  # S3 takes 1,024 with the prefix
MAX_NAME_BYTES = 255  # what local file systems take for one name


def check_key(key: str) -> str:
    """`key` itself, when each of its names between slashes is safe.

    Raises:
        RequestError: For empty names, `.`, `..`, backslashes, control characters or over-long keys.
    """
    for name in key.split("/"):
        _check_name(name, whole=key)
    if len(key.encode()) > MAX_KEY_BYTES:
        raise RequestError(
            f"storage key {_shorten(key)}: must be at most {MAX_KEY_BYTES} bytes, got {len(key.encode())}"
        )
    return key


def check_folder(folder: str) -> str:
    """`folder` without a closing slash; "" stands for everything."""
    return check_key(folder.removesuffix("/")) if folder else ""


def check_name(name: str) -> str:
    """`name` itself, when it is a single safe name: a key without slashes."""
    if "/" in name:
        raise RequestError(f"storage name {_shorten(name)}: must be one name without '/'")
    return check_key(name)


def _check_name(name: str, *, whole: str) -> None:
    rule = None
    if name in {"", ".", ".."}:
        rule = "names between slashes must not be empty, '.' or '..'"
    elif "\\" in name or any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in name):
        rule = "must not hold backslashes, control characters or broken unicode"
    elif name.startswith(RESERVED):
        rule = f"names must not start with '{RESERVED}'"
    elif len(name.encode()) > MAX_NAME_BYTES:
        rule = f"each name must be at most {MAX_NAME_BYTES} bytes"
    if rule:
        raise RequestError(f"storage key {_shorten(whole)}: {rule}")


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
