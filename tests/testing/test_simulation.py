"""Simulated trials end their epochs in the order of time, and hanging ones make room."""

from __future__ import annotations

import pytest

from hoir_ray.results.ledger import Ledger
from hoir_ray.storage import open_storage
from hoir_ray.testing.example import MAX_EPOCHS, TEXT, build_driver, example_row, run
from hoir_ray.testing.simulation import Clock, NoLedger, Simulation


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path)).child("simulated")


def test_trials_as_long_as_each_other_take_turns(storage):
    driver, seen = build_driver(storage), []

    def row(record, epoch):
        seen.append((record.trial, epoch))
        return example_row(record, epoch)

    Simulation(driver, row=row, slots=2).run(num_epochs=5)
    assert seen == [("t0001", 1), ("t0002", 1), ("t0001", 2), ("t0002", 2), ("t0001", 3)]


def test_the_clock_is_that_of_the_epochs(storage):
    clock = Clock()
    driver, seen = build_driver(storage, clock=clock), []

    def row(record, epoch):
        seen.append((clock.now, record.trial, epoch))
        return example_row(record, epoch)

    Simulation(driver, row=row, epoch_s=lambda r: 2.0 + 3.0 * (r.number - 1), slots=2, clock=clock).run(num_epochs=4)
    assert seen == [(2.0, "t0001", 1), (4.0, "t0001", 2), (5.0, "t0002", 1), (6.0, "t0001", 3)]


def test_a_trial_that_hangs_gives_its_slot_to_another(storage):
    clock = Clock()
    text = TEXT + "failures: {hang_timeout: 30s, max_retries: 0}\n"
    driver = build_driver(storage, text, clock=clock)
    simulation = Simulation(
        driver, row=example_row, epoch_s=lambda r: 1e9 if r.number == 1 else 4.0, slots=2, clock=clock
    )
    simulation.run()
    assert driver.finished
    states = {r.trial: r.state for r in driver.records.values()}
    assert states.pop("t0001") == "TIMEOUT"
    assert set(states.values()) == {"FINISHED"}
    assert clock.now < 1e6


def test_a_simulation_ends_where_it_was_told_to_and_can_be_continued(storage):
    driver = build_driver(storage)
    simulation = Simulation(driver, row=example_row, slots=3)
    simulation.run(num_ended=4)
    assert driver.board.num_ended == 4
    simulation.run()
    assert driver.board.num_ended == 12
    assert not simulation.step()
    assert {r.trial: r for r in Ledger(storage).load()} == driver.records
    assert all(r.epochs == MAX_EPOCHS for r in driver.records.values())


def test_an_interrupted_simulation_resumes_at_the_epoch_it_had(storage):
    first = build_driver(storage)
    run(first, slots=2, num_epochs=6)
    for name in first.running:
        first.interrupted(name, reason="test")
    driver, epochs = build_driver(storage, records=Ledger(storage).load()), []

    def row(record, epoch):
        epochs.append((record.trial, epoch))
        return example_row(record, epoch)

    Simulation(driver, row=row, slots=2).run(num_epochs=2)
    assert epochs == [("t0001", 4), ("t0002", 4)]


def test_no_ledger_keeps_nothing():
    ledger = NoLedger()
    ledger.save_snapshot([])
    assert ledger.load() == []
