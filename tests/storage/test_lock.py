"""One sweep, one driver: races, dead holders, lost leases and outages. Rows 34 and 35 of the fault matrix."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from types import SimpleNamespace

import pytest

from hoir_ray.storage import LockedError, MissingObjectError, Storage, acquire_lock
from hoir_ray.storage import lock as lock_module
from tests.servers.s3_proxy import S3Proxy
from tests.storage.backends import impatient


def test_second_starter_is_told_who_and_how_to_go_on(storage: Storage) -> None:
    with acquire_lock(storage, owner="ada@host"):
        with pytest.raises(LockedError) as caught:
            acquire_lock(storage, owner="bob@host")
        for part in ("ada@host", f"process {os.getpid()}", " since ", "its lease ends in", "--force"):
            assert part in str(caught.value)
    with acquire_lock(storage, owner="bob@host"):
        assert json.loads(storage.get("lock.json"))["owner"] == "bob@host"


def test_of_eight_processes_in_the_same_moment_one_wins(storage: Storage) -> None:
    context = multiprocessing.get_context("fork")
    barrier, outcomes = context.Barrier(8), context.SimpleQueue()
    processes = [context.Process(target=_race, args=(storage, barrier, outcomes, n)) for n in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    seen = sorted(outcomes.get() for _ in processes)
    assert seen == ["locked"] * 7 + ["won"]


def _race(storage: Storage, barrier: Barrier, outcomes: SimpleQueue[str], number: int) -> None:
    barrier.wait()
    try:
        acquire_lock(storage, owner=f"starter {number}")
        outcomes.put("won")
    except LockedError:
        outcomes.put("locked")
    except BaseException as error:
        outcomes.put(repr(error))
    barrier.wait()  # the winner lives until all have tried


def test_dead_holder_on_this_machine_is_taken_over_at_once(storage: Storage) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.SimpleQueue()
    process = context.Process(target=_hold, args=(storage, ready))
    process.start()
    ready.get()
    with pytest.raises(LockedError):
        acquire_lock(storage, owner="early")
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    with acquire_lock(storage, owner="late"):
        assert json.loads(storage.get("lock.json"))["owner"] == "late"


def _hold(storage: Storage, ready: SimpleQueue[bool], lease_s: float = 3600) -> None:
    acquire_lock(storage, owner="to be killed", lease_s=lease_s)
    ready.put(True)
    signal.pause()


def test_holder_elsewhere_is_waited_out(storage: Storage) -> None:
    expires = time.time() + 5.0
    claim = {
        "owner": "o",
        "host": "far",
        "pid": 1,
        "machine": "another",
        "since": "s",
        "expires": expires,
        "lease_s": 6,
    }
    storage.put("lock.json", json.dumps(claim).encode())
    with pytest.raises(LockedError, match=r"already run by o .host far, process 1. since s; its lease ends in \d s"):
        acquire_lock(storage, owner="early")
    time.sleep(max(0.0, expires + 0.1 - time.time()))
    acquire_lock(storage, owner="late").release()


@pytest.mark.parametrize("ahead_s", [-3600.0, 3600.0])
def test_a_lock_of_another_machine_with_another_clock_counts_as_long_as_it_is_renewed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    """Another clock here is another clock there."""
    monkeypatch.setattr(lock_module, "_machine", lambda: "another")
    holder = acquire_lock(storage, owner="far", lease_s=1.5)
    monkeypatch.setattr(lock_module, "_machine", lambda: "this one")
    there = time.time
    monkeypatch.setattr(lock_module, "time", SimpleNamespace(**{**vars(time), "time": lambda: there() + _skew()}))

    def _skew() -> float:
        return 0.0 if threading.current_thread().name == "hoir-lock" else ahead_s

    with pytest.raises(LockedError):
        acquire_lock(storage, owner="near", lease_s=1.5)
    holder._stop.set()  # as if its machine were lost
    holder._heartbeat.join()
    acquire_lock(storage, owner="near", lease_s=1.5).release()


def test_a_living_process_of_this_machine_holds_its_lock_whatever_the_clock_says(storage: Storage) -> None:
    """After a jump of the clock, or while the holder is stopped, its lease is over."""
    context = multiprocessing.get_context("fork")
    ready = context.SimpleQueue()
    process = context.Process(target=_hold, args=(storage, ready, 0.5))
    process.start()
    ready.get()
    os.kill(process.pid or 0, signal.SIGSTOP)
    try:
        end = json.loads(storage.get("lock.json"))["expires"]
        time.sleep(max(0.0, end + 0.2 - time.time()))
        with pytest.raises(LockedError, match="already run by to be killed"):
            acquire_lock(storage, owner="impatient")
    finally:
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    acquire_lock(storage, owner="late").release()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"expires": null, "pid": 1}', b'{"expires": 1}'])
def test_unreadable_lock_needs_force(storage: Storage, content: bytes) -> None:
    storage.put("lock.json", content)
    with pytest.raises(LockedError, match=r"an unreadable lock.json.*--force"):
        acquire_lock(storage, owner="me")
    acquire_lock(storage, owner="me", force=True).release()


def test_lease_is_renewed_and_ends_with_the_release(storage: Storage) -> None:
    lock = acquire_lock(storage, owner="me", lease_s=0.6)
    first = json.loads(storage.get("lock.json"))["expires"]
    time.sleep(1.5)
    assert json.loads(storage.get("lock.json"))["expires"] > first + 0.6
    assert not lock.lost.is_set()
    lock.release()
    lock.release()
    assert json.loads(storage.get("lock.json"))["released"] is True


def test_taken_by_force_is_noticed_and_left_alone(storage: Storage) -> None:
    ours = acquire_lock(storage, owner="me", lease_s=0.6)
    theirs = acquire_lock(storage, owner="somebody else", force=True)
    assert ours.lost.wait(10)
    ours.release()
    found = json.loads(storage.get("lock.json"))
    assert found["owner"] == "somebody else"
    assert not found["released"]
    theirs.release()


def test_lock_deleted_by_hand_is_taken_again(storage: Storage) -> None:
    with acquire_lock(storage, owner="me", lease_s=0.6) as lock:
        storage.delete("lock.json")
        time.sleep(1.0)
        assert json.loads(storage.get("lock.json"))["owner"] == "me"
        assert not lock.lost.is_set()


def test_outage_longer_than_the_lease_does_not_lose_the_lock(s3_proxy: S3Proxy, s3_folder: str) -> None:
    storage = impatient(s3_proxy, s3_folder)
    with acquire_lock(storage, owner="me", lease_s=0.6) as lock:
        before = storage.get("lock.json")
        with s3_proxy.faulty("503"):
            time.sleep(2.0)
        end = time.monotonic() + 20
        while storage.get("lock.json") == before and time.monotonic() < end:
            time.sleep(0.1)
        assert storage.get("lock.json") != before
        assert not lock.lost.is_set()


def test_release_in_an_outage_does_not_raise(s3_proxy: S3Proxy, s3_folder: str) -> None:
    storage = impatient(s3_proxy, s3_folder)
    lock = acquire_lock(storage, owner="me")
    with s3_proxy.faulty("500"):
        lock.release()
    with pytest.raises(LockedError):
        acquire_lock(storage, owner="me, in the same second")


def test_nothing_is_there_before_the_first_lock(storage: Storage) -> None:
    with pytest.raises(MissingObjectError):
        storage.get("lock.json")
