"""The lock of a sweep: one object with a lease that its holder renews, acquired by conditional writes."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import socket
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from hoir_ray.errors import RequestError, StorageError
from hoir_ray.machine.processes import process_start
from hoir_ray.storage.contract import MissingObjectError
from hoir_ray.storage.store import Storage

LOCK = "lock.json"
_log = logging.getLogger(__name__)


class LockedError(RequestError):
    """Somebody else is running this sweep."""


def acquire_lock(storage: Storage, *, owner: str, lease_s: float = 60.0, force: bool = False) -> Lock:
    """Take the lock of a sweep, at once or not at all; of several starters exactly one gets it.

    A lock counts until its lease ends, so hosts' clocks must agree to well within `lease_s`. One whose process is dead
    on this very machine is taken over at once.

    Args:
        owner: Shown where the lock is found taken, such as user@host.
        force: Take it whoever holds it; the other notices at its next renewal.

    Raises:
        LockedError: If somebody holds it, naming who and since when.
    """
    claim = _claim(owner=owner, lease_s=lease_s)
    found: dict[str, Any] = {}
    for _ in range(3):
        try:
            data, etag = storage.get_version(LOCK)
            found = _parse(data)
            if not force and _is_held(found):
                break
        except MissingObjectError:
            etag = None
        if (taken := storage.swap(LOCK, _dump(claim), etag=etag)) is not None:
            return Lock(storage, claim=claim, etag=taken)
    raise LockedError(f"{storage.describe()}: {_describe(found)}; wait, stop that one, or take over with --force")


class Lock:
    """A held lock. A thread renews it until `release`, through outages of the storage too.

    Attributes:
        lost: Set once somebody else has taken the lock; whoever holds it must stop writing then.
    """

    def __init__(self, storage: Storage, *, claim: dict[str, Any], etag: str) -> None:
        self.lost = threading.Event()
        self._storage = storage
        self._claim = claim
        self._etag = etag
        self._stop = threading.Event()
        self._heartbeat = threading.Thread(target=self._renew_until_stopped, name="hoir-lock", daemon=True)
        self._heartbeat.start()

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the lock back, if it is still ours; when storage cannot be reached it is free once its lease ends."""
        self._stop.set()
        self._heartbeat.join(timeout=self._claim["lease_s"])
        if self.lost.is_set() or self._claim["released"] or self._heartbeat.is_alive():
            return
        self._claim["released"] = True
        # Not deleted: a delete has no condition, and could hit the lock of whoever took it a moment ago.
        with contextlib.suppress(StorageError):
            self._storage.swap(LOCK, _dump(self._claim), etag=self._etag)

    def _renew_until_stopped(self) -> None:
        period = self._claim["lease_s"] / 3
        while not self._stop.wait(period):
            period = self._claim["lease_s"] / 3
            try:
                self._renew()
            except StorageError as error:
                period = min(2.0, period)
                _log.warning("the lock could not be renewed and is tried again: %s", error)
            if self.lost.is_set():
                _log.error("%s: somebody else took the lock over", self._storage.describe())
                return

    def _renew(self) -> None:
        self._claim["expires"] = time.time() + self._claim["lease_s"]
        etag = self._storage.swap(LOCK, _dump(self._claim), etag=self._etag)
        if etag is None:
            try:
                if _parse(self._storage.get(LOCK)).get("token") != self._claim["token"]:
                    self.lost.set()
                return
            except MissingObjectError:  # deleted by hand: take it again, unless somebody is faster
                etag = self._storage.swap(LOCK, _dump(self._claim), etag=None)
        if etag is None:
            self.lost.set()
        else:
            self._etag = etag


def _claim(*, owner: str, lease_s: float) -> dict[str, Any]:
    return {
        "owner": owner,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "machine": _machine(),
        "process_start": process_start(os.getpid()),
        "token": uuid.uuid4().hex,
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "lease_s": lease_s,
        "expires": time.time() + lease_s,
        "released": False,
    }


def _is_held(found: dict[str, Any]) -> bool:
    if found.get("released") or time.time() > found.get("expires", math.inf):
        return False
    here = found.get("machine") is not None and found["machine"] == _machine()
    return not here or process_start(found.get("pid", 0)) == found.get("process_start")


def _machine() -> str | None:
    """This boot of this machine and its process ids, or None where that cannot be told."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    return None


def _dump(claim: dict[str, Any]) -> bytes:
    return json.dumps(claim, indent=1).encode()


def _parse(data: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError, TypeError, KeyError):
        found = dict(json.loads(data))
        return {**found, "expires": float(found["expires"]), "pid": int(found["pid"])}
    return {"owner": "an unreadable lock.json"}


def _describe(found: dict[str, Any]) -> str:
    lease = f"its lease ends in {found['expires'] - time.time():.0f} s" if "expires" in found else "it has no lease"
    return (
        f"already run by {found.get('owner', 'another starter')} (host {found.get('host', 'unknown')}, "
        f"process {found.get('pid', 'unknown')}) since {found.get('since', 'just now')}; {lease}"
    )
