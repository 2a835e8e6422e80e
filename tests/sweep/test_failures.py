"""The driver's handling of failures: time-outs, hangs, memory, lost machines, and storage that is gone."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hoir_ray.storage import BackgroundUploader, Storage, open_storage
from hoir_ray.sweep.driving.retries import MAX_PREEMPTIONS
from hoir_ray.sweep.driving.running import GRACE_S, START_S
from hoir_ray.sweep.stops import look_outside
from hoir_ray.testing.example import MAX_EPOCHS, TEXT, build_driver
from hoir_ray.trials.messages import Failed


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "sweep"))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def started(storage: Storage, failures: str, *, clock: Clock):
    driver = build_driver(storage, TEXT + f"failures: {failures}\n", clock=clock)
    record = driver.next()
    assert record is not None
    driver.started(record.trial)
    return driver, record.trial


def again(driver, name: str) -> None:
    driver.clock.now += 100
    assert driver.next().trial == name
    driver.started(name)


def test_silence_is_given_up_tried_again_and_then_a_timeout(storage):
    clock = Clock()
    driver, name = started(storage, "{max_retries: 1, hang_timeout: 10s}", clock=clock)
    clock.now += START_S + 9
    assert driver.overdue() == [], "a process needs time to start"
    clock.now += 2
    assert driver.overdue() == [name]
    assert driver.records[name].state == "PENDING"
    assert driver.overdue() == []
    again(driver, name)
    clock.now += 1
    driver.reported(name, {"epoch": 1.0, "quality": 1.0})
    clock.now += 11
    assert driver.overdue() == [name]
    assert driver.records[name].state == "TIMEOUT"
    assert "after epoch 1" in driver.records[name].reason


def test_a_placed_trial_has_the_time_of_a_start_for_its_data_and_first_epoch(storage):
    clock = Clock()
    driver, name = started(storage, "{hang_timeout: 10s}", clock=clock)
    clock.now += 30
    driver.placed(name, node="here")
    clock.now += START_S + 9
    assert driver.overdue() == []
    driver.reported(name, {"epoch": 1.0, "quality": 1.0})
    clock.now += 11
    assert driver.overdue() == [name]


def test_each_report_is_a_sign_of_life(storage):
    clock = Clock()
    driver, name = started(storage, "{hang_timeout: 10s}", clock=clock)
    for epoch in range(1, 6):
        clock.now += 9
        driver.reported(name, {"epoch": float(epoch), "quality": 1.0})
        assert driver.overdue() == []


def test_a_trial_over_time_stops_at_its_next_report_or_is_ended(storage):
    clock = Clock()
    driver, name = started(storage, "{trial_timeout: 10s}", clock=clock)
    clock.now = 11
    assert driver.overdue() == []
    assert "trial_timeout" in driver.reported(name, {"epoch": 1.0, "quality": 1.0})
    assert driver.records[name].state == "TIMEOUT"
    assert driver.records[name].epochs == 1
    record = driver.next()
    assert record is not None
    other = record.trial
    driver.started(other)
    clock.now += 10 + GRACE_S + 1
    assert driver.overdue() == [other]
    assert driver.records[other].state == "TIMEOUT"


def test_the_last_epoch_may_be_late(storage):
    clock = Clock()
    driver, name = started(storage, "{trial_timeout: 10s}", clock=clock)
    clock.now = 11
    assert driver.reported(name, {"epoch": float(MAX_EPOCHS), "quality": 1.0}) is None


def test_out_of_memory_halves_the_batch_until_it_is_one_or_tries_are_used_up(storage):
    driver, name = started(storage, "{max_retries: 9}", clock=Clock())
    sizes = []
    size: int | None = 8
    while not driver.records[name].ended:
        sizes.append(size)
        driver.failed(name, Failed(reason="no memory", state="OOM", batch_size=size))
        size = driver.records[name].batch_size
        if not driver.records[name].ended:
            again(driver, name)
    assert sizes == [8, 4, 2, 1]
    assert driver.records[name].state == "OOM"


def test_out_of_memory_may_be_final(storage):
    driver, name = started(storage, "{on_oom: fail}", clock=Clock())
    driver.failed(name, Failed(reason="no memory", state="OOM", batch_size=8))
    assert driver.records[name].state == "OOM"


def test_a_trial_that_loses_every_machine_is_its_own_fault(storage):
    driver, name = started(storage, "{max_retries: 0}", clock=Clock())
    for _ in range(MAX_PREEMPTIONS):
        driver.failed(name, Failed(reason="its machine was lost", is_preemption=True))
        again(driver, name)
    driver.failed(name, Failed(reason="its machine was lost", is_preemption=True))
    assert driver.records[name].state == "FAILED"
    assert f"{MAX_PREEMPTIONS + 1} machines" in driver.records[name].reason


def test_without_storage_nothing_starts_and_what_runs_may_end(storage):
    driver, name = started(storage, "{}", clock=Clock())
    driver.storage_failed("no bucket")
    assert driver.next() is None
    driver.check()
    assert driver.stop_reason is None
    driver.succeeded(name, reason="done", model=f"models/{name}")
    driver.check()
    assert "no bucket" in str(driver.stop_reason)
    assert driver.finished


def test_a_sweep_that_was_taken_over_stops(storage):
    driver, _ = started(storage, "{}", clock=Clock())
    lock: Any = SimpleNamespace(lost=threading.Event())
    with BackgroundUploader(storage) as uploader:
        look_outside(driver, lock, uploader)
        assert driver.stop_reason is None
        lock.lost.set()
        look_outside(driver, lock, uploader)
        assert "--force" in str(driver.stop_reason)
    assert driver.exit_code == 1


def test_a_trial_goes_on_with_the_curve_of_its_checkpoint(storage):
    driver, name = started(storage, "{}", clock=Clock())
    for epoch in (1, 2, 3):
        driver.reported(name, {"epoch": float(epoch), "quality": float(epoch)})
    driver.interrupted(name, reason="SIGTERM")
    driver = build_driver(storage, records=list(driver.records.values()), clock=driver.clock)
    again(driver, name)
    driver.placed(name, node="here", notes=["checkpoint x passed over"], curve=[{"epoch": 1.0, "quality": 1.0}])
    assert driver.records[name].epochs == 1
    assert driver.records[name].best == {"epoch": 1.0, "quality": 1.0}
    assert "checkpoint x passed over" in driver.records[name].history[-2]
    driver.succeeded(name, reason="done", model=None)
    assert [r["epoch"] for r in driver.records[name].curve] == [1]
