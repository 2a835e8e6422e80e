"""Leaders run again with other seeds after the search, and what is said of them."""

from __future__ import annotations

import json

import pytest

from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.summary import BEST, write_summary
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.storage import open_storage
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.testing.example import MAX_EPOCHS, TEXT, build_driver, quality, run
from hoir_ray.testing.simulation import Simulation
from hoir_ray.trials.messages import Failed

PLAIN = TEXT + "replicate_top: {num_trials: 2, num_seeds: 3}\n"
NUM_STEPS = 12 * MAX_EPOCHS + 25  # epochs after which the search has ended and its leaders have not all been run again
AGAIN = TEXT + "early_terminate: {type: asha, min_iter: 1, eta: 3}\nreplicate_top: {num_trials: 2, num_seeds: 3}\n"


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path)).child("simulated")


def split(driver: Driver) -> tuple[list[TrialRecord], list[TrialRecord]]:
    records = list(driver.records.values())
    return [r for r in records if r.replicate_of is None], [r for r in records if r.replicate_of is not None]


@pytest.mark.parametrize("slots", [1, 4])
def test_the_leaders_are_run_again_when_the_search_has_ended(storage, slots):
    driver = build_driver(storage, AGAIN + "method: tpe\n")
    run(driver, slots=slots)
    search, again = split(driver)
    assert driver.finished
    assert len(search) == 12
    finished = sorted((r for r in search if r.state == "FINISHED"), key=lambda r: -(r.best or {})["quality"])
    leaders = {r.trial: r for r in finished[:2]}
    assert {(r.replicate_of, r.seed) for r in again} == {(name, seed) for name in leaders for seed in (1, 2, 3)}
    for record in again:
        assert record.parameters == leaders[record.replicate_of or ""].parameters
        assert record.number > max(r.number for r in search)
        assert record.state == "FINISHED"
        assert record.epochs == MAX_EPOCHS
    assert len(driver.searcher.trials) == 12


def test_a_sweep_stopped_between_two_seeds_goes_on_with_the_rest(storage):
    driver = build_driver(storage, PLAIN)
    run(driver, slots=2, num_epochs=NUM_STEPS)
    assert 0 < len(split(driver)[1]) < 6
    for name in sorted(driver.running):
        driver.interrupted(name, reason="test")
    resumed = build_driver(storage, PLAIN, records=Ledger(storage).load())
    run(resumed)
    search, again = split(resumed)
    assert len(search) == 12
    whole = build_driver(storage.child("whole"), PLAIN)
    run(whole, slots=2)
    assert {(r.replicate_of, r.seed) for r in again} == {(r.replicate_of, r.seed) for r in split(whole)[1]}
    assert len(again) == 6


def test_best_json_has_mean_and_spread_and_says_who_cannot_be_told_apart(storage):
    driver = build_driver(storage, AGAIN)

    def noisy_row(record, epoch):
        noise = 0.5 * (record.seed % 3) if record.replicate_of else 0.0
        value = quality(record.parameters, epoch) * (0.001 if record.replicate_of else 1.0) + noise
        return {"epoch": float(epoch), "quality": value}

    Simulation(driver, row=noisy_row).run()
    records = list(driver.records.values())
    write_summary(storage, driver.spec, records)
    best = json.loads(storage.get(BEST))
    assert best["best"]["over_seeds"]["quality"]["num_seeds"] == 3
    assert best["best"]["over_seeds"]["quality"]["mean"] < 1
    assert best["best"]["metrics"]["quality"] > 1
    assert best["not_told_apart_from_best"] == [
        r.trial for r in SweepResults(storage, driver.spec, tuple(records)).leaderboard()[1:2]
    ]


def test_a_search_without_a_finished_trial_has_nobody_to_run_again(storage):
    driver = build_driver(storage, AGAIN.replace("max_trials: 12", "max_trials: 2"))
    for _ in range(2):
        record = driver.next()
        assert record is not None
        driver.started(record.trial)
        driver.failed(record.trial, Failed(reason="no", retry=False))
    assert driver.next() is None
    assert driver.finished
