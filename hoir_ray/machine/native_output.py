"""Standard error for Python alone: what native code writes there, in formats of its own, is not shown."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hoir_ray.machine.interrupt import NATIVE_THREAD


@contextmanager
def no_native_stderr() -> Iterator[None]:
    """Close file descriptor 2 to native code while the block runs; `sys.stderr` goes on to where that led.

    It stays closed for a thread that was left in native code, which may write until the process ends.
    """
    stderr = sys.stderr
    try:
        kept = os.dup(2)
    except OSError:  # the process was started without
        yield
        return
    if stderr_descriptor() == 2:
        sys.stderr = io.TextIOWrapper(
            os.fdopen(os.dup(kept), "wb", 0), encoding=stderr.encoding, errors=stderr.errors, write_through=True
        )
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        if not any(thread.name == NATIVE_THREAD for thread in threading.enumerate()):
            os.dup2(kept, 2)
            sys.stderr = stderr
        os.close(kept)


def stderr_descriptor() -> int | None:
    """Descriptor that `sys.stderr` writes to, for a child process; None where it has none."""
    with suppress(OSError, AttributeError, ValueError):
        sys.stderr.flush()
        return sys.stderr.fileno()
    return None
