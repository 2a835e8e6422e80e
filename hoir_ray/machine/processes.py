"""Processes: whether one still runs or another one got its number, and whose they are."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
from pathlib import Path


def process_start(pid: int) -> str | None:
    """Return the start of a process on this machine in clock ticks since boot; None if there is no such process."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    return None


def user_and_host() -> str:
    """Such as `ada@lab`; in a container a user may have no name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
