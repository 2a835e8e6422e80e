"""A trial's own limit of memory: what it asks for beyond is refused to it and costs no other trial its life."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def memory_limit(size_bytes: int | None) -> Iterator[None]:
    """Let this process allocate `size_bytes` more than it has now; then allocations fail.

    RLIMIT_DATA and not RLIMIT_AS: libraries and CUDA map far more addresses than they will ever use.
    """
    if size_bytes is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _data_bytes() + size_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python, torch on the CPU or torch on a GPU means out of memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(sign in str(error) for sign in ("can't allocate memory", "std::bad_alloc", "CUDA out of memory"))


def _data_bytes() -> int:
    """Measure what counts against RLIMIT_DATA."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
