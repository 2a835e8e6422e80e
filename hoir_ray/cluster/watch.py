"""Calls Ray in a separate thread, and notices within a second that Ray has died, which Ray itself notices late."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from hoir_ray.errors import WorkError
from hoir_ray.machine.interrupt import NATIVE_THREAD
from hoir_ray.machine.processes import process_start

LOOK_EVERY_S = 0.5
GRACE_S = 5.0  # for a call to end by itself after a death, and again for its thread to end once it is interrupted
IDLE_THREAD = "hoir-ray-calls"
UNREACHED_S = 10.0  # without an answer a head on another machine counts as dead
ANSWER_S = 2.0  # for one answer
# A client's first words in HTTP/2, with empty settings (RFC 9113, 3.4), which every server answers with its own.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])

T = TypeVar("T")


class RayDiedError(WorkError):
    """A process that the sweep cannot do without has died."""


class Health:
    """State of Ray's processes, kept up to date while Ray is called, from one thread that is used for nothing else.

    Ray's native code waits without end for processes that have died, and no signal reaches Python meanwhile. Whoever
    calls Ray through this does not wait there: it takes signals at once, and leaves behind what does not end. It is
    one thread for all calls, as the system ends Ray's processes with the thread that has started them.

    Args:
        look: Tells what has died, or nothing.

    Attributes:
        death: Name of what has died; empty as long as nothing has.
    """

    def __init__(self, look: Callable[[], str] = lambda: "") -> None:
        self._look = look
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=IDLE_THREAD, daemon=True)
        self.death = ""

    def call(self, function: Callable[[], T]) -> T:
        """Run a function that calls Ray, and return what it returns.

        Raises:
            RayDiedError: Some seconds after a death, or in place of what Ray raises after one.
        """
        outcome: Future[T] = Future()
        try:
            if not self._thread.is_alive():
                self._thread.start()
            self._calls.put(lambda: self._settle(outcome, function))
            self._wait_for(outcome)
        except BaseException:  # a signal handler's, too
            self._interrupt()
            wait([outcome], timeout=GRACE_S)
            raise
        try:
            return outcome.result()
        except Exception as error:
            self.death = self.death or self._look()
            if not self.death or isinstance(error, RayDiedError):
                raise
            raise self._died() from error

    def close(self) -> None:
        """End the thread, unless it waits for the dead."""
        self._calls.put(None)
        if self._thread.is_alive() and not self.death:
            self._thread.join(GRACE_S)

    def _serve(self) -> None:
        with suppress(KeyboardInterrupt):  # one that comes after the call it was for
            while (call := self._calls.get()) is not None:
                call()

    def _settle(self, outcome: Future[T], function: Callable[[], T]) -> None:
        self._thread.name = NATIVE_THREAD
        try:
            result = function()
        except BaseException as error:
            self._thread.name = IDLE_THREAD
            outcome.set_exception(error)
        else:
            self._thread.name = IDLE_THREAD
            outcome.set_result(result)

    def _wait_for(self, outcome: Future[T]) -> None:
        died_at = 0.0
        while not wait([outcome], timeout=LOOK_EVERY_S).done:
            if not self.death:
                self.death, died_at = self._look(), time.monotonic()
            elif time.monotonic() - died_at >= GRACE_S:
                raise self._died()

    def _interrupt(self) -> None:
        """Raise KeyboardInterrupt in the thread as soon as it runs Python."""
        if (ident := self._thread.ident) is not None:
            error = ctypes.py_object(KeyboardInterrupt)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), error)

    def _died(self) -> RayDiedError:
        return RayDiedError(f"{self.death}; the same command resumes")


def local_look(processes: Callable[[], dict[str, list[Any]]]) -> Callable[[], str]:
    """Look after the processes that Ray has started for this driver, and after the agents that its raylet starts.

    Args:
        processes: Gives Ray's own record of them: kind -> entries with a `process`.
    """
    known: dict[int, tuple[str, str | None]] = {}  # process -> its kind and start

    def look() -> str:
        for kind, entries in processes().items():
            for pid in (e.process.pid for e in entries if e.process is not None):
                _note(known, pid, kind.replace("_", " "))
        for raylet in [pid for pid, (kind, _) in known.items() if kind == "raylet"]:
            for pid in _agents_of(raylet):
                _note(known, pid, "agent")
        for pid, (kind, start) in known.items():
            if start is None or process_start(pid) != start:
                return f"Ray's {kind} (process {pid}) has died"
        return ""

    return look


def remote_look(address: str, *, patience_s: Callable[[], float] = lambda: UNREACHED_S) -> Callable[[], str]:
    """Look whether the head at `host:port` answers, which one that is stopped does not, although it takes connections.

    Args:
        patience_s: Seconds without an answer after which it counts as dead.
    """
    silent_since: float | None = None

    def look() -> str:
        nonlocal silent_since
        began = time.monotonic()
        if answers(address):
            silent_since = None
            return ""
        silent_since = began if silent_since is None else silent_since
        return f"Ray's head at {address} does not answer" if time.monotonic() - silent_since >= patience_s() else ""

    return look


def answers(address: str) -> bool:
    """Ask the head at `host:port` as gRPC does; one that closes the connection, as with TLS it may, lives too."""
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S)
    except OSError:
        return False
    with connection:
        try:
            connection.sendall(_HELLO)
            connection.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True
        return True


def _note(known: dict[int, tuple[str, str | None]], pid: int, kind: str) -> None:
    if pid not in known:
        known[pid] = kind, process_start(pid)


def _agents_of(raylet: int) -> list[int]:
    """Processes by which Ray watches a node and prepares workers; its raylet starts them."""
    found = []
    with suppress(OSError, ValueError):
        for pid in map(int, Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if any(os.path.basename(part) in (b"agent.py", b"main.py") and b"agent" in part for part in line):  # noqa: PTH119
                found.append(pid)
    return found
