"""Notices within a second that Ray has died, which Ray itself notices late or never."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from hoir_ray.errors import WorkError
from hoir_ray.machine.processes import process_start

LOOK_EVERY_S = 0.5
GRACE_S = 5.0  # for the sweep to end by itself, before what it waits for is interrupted
UNREACHED_S = 10.0  # without an answer a head on another machine counts as dead
_SIGNAL = signal.SIGUSR2


class RayDiedError(WorkError):
    """A process that the sweep cannot do without has died."""


class Health:
    """State of Ray as its watcher sees it.

    Attributes:
        death: What has died; empty as long as nothing has.
    """

    def __init__(self) -> None:
        self.death = ""


@contextmanager
def watching(look: Callable[[], str]) -> Iterator[Health]:
    """Watch for the time of the block, from a thread; the main thread is interrupted where it does not end by itself.

    Args:
        look: Tells what has died, or nothing.

    Raises:
        RayDiedError: In the block, some seconds after `death` was set.
    """
    health, over = Health(), threading.Event()
    is_main = threading.current_thread() is threading.main_thread()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not over.is_set():
            raise RayDiedError(f"{health.death}; the same command resumes")

    def watch() -> None:
        while not over.wait(LOOK_EVERY_S):
            if not health.death:
                health.death = look()
            elif over.wait(GRACE_S):
                return
            elif is_main:  # again and again, since Ray catches much; a signal also ends a wait in its native code
                signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)

    before = signal.signal(_SIGNAL, interrupt) if is_main else None
    thread = threading.Thread(target=watch, name="hoir-ray-watch", daemon=True)
    thread.start()
    try:
        yield health
    except Exception as error:
        if not health.death or isinstance(error, RayDiedError):
            raise
        raise RayDiedError(f"{health.death}; the same command resumes") from error  # or Ray's words for what followed
    finally:
        over.set()
        thread.join()
        if is_main:
            signal.signal(_SIGNAL, before)


def local_look(processes: dict[str, list[Any]]) -> Callable[[], str]:
    """Look after the processes that Ray has started for this driver, and after the agents that its raylet starts.

    Args:
        processes: Ray's own record of them: kind -> entries with a `process`.
    """
    known = {e.process.pid: kind.replace("_", " ") for kind, entries in processes.items() for e in entries}
    raylets = [pid for pid, kind in known.items() if kind == "raylet"]
    started = {pid: process_start(pid) for pid in known}

    def look() -> str:
        for raylet in raylets:
            for pid in _agents_of(raylet):
                known.setdefault(pid, "agent")
                started.setdefault(pid, process_start(pid))
        for pid, kind in known.items():
            if process_start(pid) != started[pid] or started[pid] is None:
                return f"Ray's {kind} (process {pid}) has died"
        return ""

    return look


def remote_look(address: str, *, unreached_s: float = UNREACHED_S) -> Callable[[], str]:
    """Look whether the head at `host:port` takes connections."""
    host, _, port = address.rpartition(":")
    failures = 0

    def look() -> str:
        nonlocal failures
        with suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), timeout=2.0):
            failures = 0
            return ""
        failures += 1
        return f"Ray's head at {address} does not answer" if failures * LOOK_EVERY_S >= unreached_s else ""

    return look


def _agents_of(raylet: int) -> list[int]:
    """Processes by which Ray watches a node and prepares workers; its raylet starts them."""
    found = []
    with suppress(OSError, ValueError):
        for pid in map(int, Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if any(os.path.basename(part) in (b"agent.py", b"main.py") and b"agent" in part for part in line):  # noqa: PTH119
                found.append(pid)
    return found
