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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from hoir_ray.errors import RequestError, StorageError
from hoir_ray.machine.processes import process_start
from hoir_ray.storage.contract import MissingObjectError
from hoir_ray.storage.store import Storage

LOCK = "lock.json"
LEASE_S = 60.0
LEFT = "lock-left.json"  # the token of whoever last found the lock taken by another, and writes no more
_LOOKS, _UNSEEN = 15, 0.25  # per lease; how much of one may pass without a look before a write needs one
_CREDIBLE = 1.5  # of a lease, and of the time between two renewals: an end of a lease beyond that is a wrong clock's
_ADVICE = "wait, stop that one, or take over with --force"
_log = logging.getLogger(__name__)


class LockedError(RequestError):
    """Somebody else is running this sweep."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The holder of a sweep's lock, or its last one, as the lock says.

    Attributes:
        is_held: Whether it runs now, as far as can be told without waiting: a lease that is over by this machine's
            clock counts as none, where `acquire_lock` would watch for its renewal.
        left_s: Until the lease ends, in seconds; None where it is not held or has no end.
    """

    owner: str
    host: str
    since: str
    is_held: bool
    left_s: float | None


def read_lease(storage: Storage) -> Lease | None:
    """Read the lock of a sweep without waiting; None where nobody ever ran it."""
    try:
        found = _parse(storage.get(LOCK))
    except MissingObjectError:
        return None
    is_held = _is_held_by_clock(found)
    left_s = found["expires"] - time.time() if is_held is True and "expires" in found else None
    texts = {name: str(found.get(name, "")) for name in ("owner", "host", "since")}
    return Lease(**texts, is_held=is_held is True, left_s=left_s)


def acquire_lock(
    storage: Storage, *, owner: str, lease_s: float = LEASE_S, force: bool = False, advice: str = _ADVICE
) -> Lock:
    """Take the lock of a sweep, at once or not at all; of several starters exactly one gets it.

    On this very machine a lock counts as long as its process lives, whatever the clock says. That of another machine
    counts until its lease ends; where that is over by this machine's clock, which may be wrong, it is watched for as
    long as its holder would take to renew it.

    Args:
        owner: Shown where the lock is found taken, such as user@host.
        force: Take it whoever holds it, once that one has noticed and stopped writing, or had the time to.
        advice: The end of the message to whoever finds it taken.

    Raises:
        LockedError: If somebody holds it, naming who and since when.
    """
    claim = _claim(owner=owner, lease_s=lease_s)
    found: dict[str, Any] = {}
    for _ in range(3):
        try:
            data, etag = storage.get_version(LOCK)
            found = _parse(data)
            if not force and _is_held(found, storage=storage, etag=etag):
                break
        except MissingObjectError:
            etag = None
        if (taken := storage.swap(LOCK, _dump(claim), etag=etag)) is not None:
            lock = Lock(storage, claim=claim, etag=taken)
            if force and etag is not None:
                _wait_for_loser(storage, found)
            return lock
    raise LockedError(f"{storage.describe()}: {_describe(found)}; {advice}")


class Lock:
    """A held lock. A thread renews it until `release`, through outages of the storage too.

    It also looks every few seconds whether the lock is still its own, and says so in `LEFT` once it is not.

    Attributes:
        lost: Set once somebody else has taken the lock; whoever holds it must stop writing then.
    """

    def __init__(self, storage: Storage, *, claim: dict[str, Any], etag: str) -> None:
        self.lost = threading.Event()
        self._storage = storage
        self._claim = claim
        self._etag = etag
        self._seen_at = _boottime()
        self._stop = threading.Event()
        self._heartbeat = threading.Thread(target=self._renew_until_stopped, name="hoir-lock", daemon=True)
        self._heartbeat.start()

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def is_ours(self) -> bool:
        """Return whether this process may still write. After a pause it looks first, for as long as that takes.

        Raises:
            StorageError: If that cannot be found out.
        """
        if not self.lost.is_set() and _boottime() - self._seen_at > self._claim["lease_s"] * _UNSEEN:
            self._look()
        return not self.lost.is_set()

    def release(self) -> None:
        """Give the lock back, if it is still ours; when storage cannot be reached it is free once its lease ends."""
        if self._end():  # not deleted: that has no condition, and could hit the lock of whoever took it a moment ago
            with contextlib.suppress(StorageError):
                self._storage.swap(LOCK, _dump(self._claim), etag=self._etag)

    def discard(self) -> None:
        """Give the lock back and delete it, because what it guards is gone."""
        if self._end():
            self._storage.delete_keys([LOCK, LEFT])

    def _end(self) -> bool:
        """End the thread; returns whether the lock was still ours."""
        self._stop.set()
        self._heartbeat.join(timeout=self._claim["lease_s"])
        is_ours = not (self.lost.is_set() or self._claim["released"] or self._heartbeat.is_alive())
        self._claim["released"] = True
        return is_ours

    def _renew_until_stopped(self) -> None:
        renewed_at, period = _boottime(), self._claim["lease_s"] / _LOOKS
        while not self._stop.wait(period):
            period = self._claim["lease_s"] / _LOOKS
            try:
                if _boottime() - renewed_at < self._claim["lease_s"] / 3:
                    self._look()
                else:
                    self._renew()
                    renewed_at = _boottime()
            except StorageError as error:
                period = min(2.0, period)
                _log.warning("the lock could not be renewed and is tried again: %s", error)
            if self.lost.is_set():
                _log.error("%s: somebody else took the lock over", self._storage.describe())
                with contextlib.suppress(StorageError):
                    self._storage.put(LEFT, json.dumps({"token": self._claim["token"]}).encode())
                return

    def _look(self) -> None:
        """Read whose the lock is; one that was deleted by hand is taken again at the next renewal."""
        asked_at = _boottime()
        with contextlib.suppress(MissingObjectError):
            if _parse(self._storage.get(LOCK)).get("token") != self._claim["token"]:
                self.lost.set()
        self._seen_at = asked_at

    def _renew(self) -> None:
        asked_at = _boottime()
        self._claim["expires"] = time.time() + self._claim["lease_s"]
        etag = self._storage.swap(LOCK, _dump(self._claim), etag=self._etag)
        if etag is None:
            try:
                if _parse(self._storage.get(LOCK)).get("token") != self._claim["token"]:
                    self.lost.set()
                self._seen_at = asked_at
                return
            except MissingObjectError:  # deleted by hand: take it again, unless somebody is faster
                etag = self._storage.swap(LOCK, _dump(self._claim), etag=None)
        if etag is None:
            self.lost.set()
        else:
            self._etag = etag
            self._seen_at = asked_at


def _wait_for_loser(storage: Storage, found: dict[str, Any]) -> None:
    """Until whoever held the lock says that it has stopped writing, or must have noticed."""
    if "token" not in found or found.get("released") or _is_dead(found):
        return
    end = time.monotonic() + found["lease_s"] * _UNSEEN
    while time.monotonic() < end:
        with contextlib.suppress(MissingObjectError, ValueError, TypeError, AttributeError):
            if json.loads(storage.get(LEFT)).get("token") == found["token"]:
                return
        time.sleep(min(0.5, found["lease_s"] / 20))


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


def _is_held(found: dict[str, Any], *, storage: Storage, etag: str) -> bool:
    known = _is_held_by_clock(found)
    if known is not None:
        return known
    return _is_renewed(storage, etag=etag, within_s=_CREDIBLE * found.get("lease_s", LEASE_S) / 3)


def _is_held_by_clock(found: dict[str, Any]) -> bool | None:
    """Return whether a lock is held; None where its lease is over, or incredibly long, by a clock that may be wrong."""
    if found.get("released"):
        return False
    if found.get("machine") is not None and found["machine"] == _machine():
        return not _is_dead(found)
    left_s = found.get("expires", time.time()) - time.time()
    if "expires" not in found or 0 <= left_s <= _CREDIBLE * found.get("lease_s", LEASE_S):
        return True
    return None


def _is_dead(found: dict[str, Any]) -> bool:
    """Return whether the holder is known to be dead, which it is of processes of this machine alone."""
    here = found.get("machine") is not None and found["machine"] == _machine()
    return here and process_start(found.get("pid", 0)) != found.get("process_start")


def _boottime() -> float:
    """Monotonic seconds that count while the machine sleeps, and that no change of its clock moves."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _is_renewed(storage: Storage, *, etag: str, within_s: float) -> bool:
    """Return whether another version of the lock comes within a time that no clock's change shortens."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        time.sleep(min(1.0, within_s / 10))
        try:
            if storage.get_version(LOCK)[1] != etag:
                return True
        except MissingObjectError:
            return False
    return False


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
        numbers = {"expires": float(found["expires"]), "lease_s": float(found.get("lease_s", LEASE_S))}
        if all(map(math.isfinite, numbers.values())):
            return {**found, **numbers, "pid": int(found["pid"])}
    return {"owner": "an unreadable lock.json"}


def _describe(found: dict[str, Any]) -> str:
    lease = f"its lease ends in {found['expires'] - time.time():.0f} s" if "expires" in found else "it has no lease"
    return (
        f"already run by {found.get('owner', 'another starter')} (host {found.get('host', 'unknown')}, "
        f"process {found.get('pid', 'unknown')}) since {found.get('since', 'just now')}; {lease}"
    )
