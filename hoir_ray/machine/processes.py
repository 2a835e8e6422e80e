"""Telling a process that still runs from another one that got its number."""

from __future__ import annotations

import contextlib
from pathlib import Path


def process_start(pid: int) -> str | None:
    """Return the start of a process on this machine in clock ticks since boot; None if there is no such process."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    return None
