"""Two drivers of one sweep, as after `--force`: no number is given twice, and who lost the sweep writes no more."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest

from hoir_ray.results.ledger import Creation, Ledger
from hoir_ray.results.record import TrialRecord, trial_of
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.storage import BackgroundUploader, MissingObjectError, Storage, acquire_lock, open_storage
from hoir_ray.sweep.finish import unreferenced
from hoir_ray.testing.example import build_driver, run
from hoir_ray.trials.attempt import Attempt
from tests.servers.s3_proxy import S3Proxy
from tests.storage.backends import impatient

METRIC = MetricSpec(name="val_loss")


def made(number: int, width: int = 4) -> TrialRecord:
    return TrialRecord(trial=f"t{number:04d}", number=number, parameters={"network.hidden.width": width})


def told(creation: Creation) -> bool:
    end = time.monotonic() + 60
    while (answer := creation()) is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    return answer


def test_two_drivers_give_no_number_twice(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    drivers = [build_driver(storage), build_driver(storage)]
    records = [driver.next() for _ in range(3) for driver in drivers]
    names = [record.trial for record in records if record is not None]
    assert names == ["t0001", "t0002", "t0003", "t0004", "t0005", "t0006"]
    loaded = {r.trial: r.parameters for r in Ledger(storage).load()}
    assert loaded == {r.trial: r.parameters for r in records if r is not None}
    assert len({json.dumps(p, sort_keys=True) for p in loaded.values()}) >= 3
    assert drivers[1].searcher._open.keys() == {"t0002", "t0004", "t0006"}


def test_a_record_that_cannot_be_read_keeps_its_number(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    run(build_driver(storage), slots=2, num_epochs=2)
    storage.put("ledger/t0002.json", b"{")
    driver = build_driver(storage, records=Ledger(storage).load())
    run(driver)
    assert storage.get("ledger/t0002.json") == b"{"
    assert sorted(driver.records)[:3] == ["t0001", "t0003", "t0004"]
    assert len(driver.records) == 12


def test_a_bucket_is_asked_for_a_number_and_not_waited_for(s3_proxy: S3Proxy, s3_folder: str) -> None:
    storage = impatient(s3_proxy, s3_folder)
    ledger = Ledger(storage, uploader=BackgroundUploader(storage))
    assert told(ledger.create(made(1)))
    assert not told(ledger.create(made(1, width=5)))
    with s3_proxy.faulty("lose_answer", match="PUT .*ledger", times=1):
        assert told(ledger.create(made(2))), "it was written, only the answer was lost"
    assert [r.parameters["network.hidden.width"] for r in ledger.load()] == [4, 4]
    driver = build_driver(storage)
    driver.board.ledger = ledger
    with s3_proxy.faulty("503"):
        assert driver.next() is None, "not yet"
        assert not driver.finished
        end = time.monotonic() + 60
        while not driver.storage_problem and time.monotonic() < end:
            driver.next()
            time.sleep(0.05)
    assert driver.storage_problem


def test_force_waits_until_the_other_has_stopped_writing(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    first = acquire_lock(storage, owner="first", lease_s=6)
    ledger = Ledger(storage, is_ours=first.is_ours)
    ledger.save(made(1))
    with acquire_lock(storage, owner="second", force=True):
        assert first.lost.is_set()
        ledger.save(made(1, width=9))
        ledger.save_snapshot([made(1, width=9)])
        assert Ledger(storage).load() == [made(1)]
    first.release()


def test_force_does_not_wait_for_a_dead_one(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    _in_a_process(storage, stop=signal.SIGKILL)
    began = time.monotonic()
    acquire_lock(storage, owner="second", force=True).release()
    assert time.monotonic() - began < 60, "a lease is an hour"


def test_one_that_was_stopped_looks_before_it_writes(tmp_path: Path) -> None:
    """As a laptop that sleeps, or a machine whose processes are frozen: its first write is after the other's start."""
    storage = open_storage(str(tmp_path))
    process, outcome = _in_a_process(storage, stop=signal.SIGSTOP, lease_s=4)
    with acquire_lock(storage, owner="second", force=True, lease_s=4):
        time.sleep(1.5)
        os.kill(process.pid or 0, signal.SIGCONT)
        outcome.get()
        process.join()
        with pytest.raises(MissingObjectError):
            storage.get("ledger/t0001.json")


def _in_a_process(
    storage: Storage, *, stop: int, lease_s: float = 3600
) -> tuple[multiprocessing.context.ForkProcess, SimpleQueue[bool]]:
    context = multiprocessing.get_context("fork")
    ready, outcome = context.SimpleQueue(), context.SimpleQueue()
    process = context.Process(target=_hold, args=(storage, ready, outcome, lease_s))
    process.start()
    ready.get()
    os.kill(process.pid or 0, stop)
    if stop == signal.SIGKILL:
        process.join()
    return process, outcome


def _hold(storage: Storage, ready: SimpleQueue[bool], outcome: SimpleQueue[bool], lease_s: float) -> None:
    lock = acquire_lock(storage, owner="first", lease_s=lease_s)
    ledger = Ledger(storage, is_ours=lock.is_ours)
    ready.put(True)
    time.sleep(0.5)  # in which it is stopped
    ledger.save(made(1))
    outcome.put(True)


def keys_of(models: Iterable[str]) -> list[str]:
    return [f"{model}/manifest.json" for model in models]


def test_each_attempt_has_a_pack_of_its_own_and_the_record_says_which_counts(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    attempts = [_attempt("t0001"), _attempt("t0001"), _attempt("t0001")]
    models = [attempt.model for attempt in attempts]
    assert len(set(models)) == 3
    assert {trial_of(key) for key in keys_of(models)} == {"t0001"}
    for key in keys_of(models):
        storage.put(key, b"{}")
    again = Attempt.model_validate(attempts[1].model_dump(mode="json"))
    assert again.model == models[1], "whichever machine trains it"
    record = made(1).change("ended", state="FINISHED", model=models[1])
    useless = unreferenced(storage.list("models"), {"t0001": record}, metric=METRIC)
    assert useless == sorted(keys_of([models[0], models[2]]))


def _attempt(trial: str) -> Attempt:
    return Attempt(
        sweep="s",
        trial=trial,
        attempt=2,
        task="image",
        config={},
        metric="m",
        goal="maximize",
        storage_uri="/",
        endpoint_url=None,
        trackers={},
        parameters={},
        workers=1,
        cpus=1,
        memory_limit=None,
        unsaved="/",
    )
