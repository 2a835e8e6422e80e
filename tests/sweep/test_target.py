"""Sweeps with a target: what they ask for, what they stop, when they end, and what they say if nothing reaches it."""

from __future__ import annotations

import json
import math

import pytest

from hoir_ray.errors import RequestError
from hoir_ray.results.ranking import nearest_miss, ranked
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.summary import write_summary
from hoir_ray.storage import Storage, open_storage
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.sweep.resume import refuse_other_spec
from hoir_ray.testing.example import MAX_EPOCHS, TEXT, build_driver
from hoir_ray.testing.simulation import Simulation

BUDGET, METRIC = "budget: {max_trials: 12}", "metric: {name: quality, goal: maximize}"
LOSS_OF_ROUNDING = 0.3


@pytest.fixture
def storage(tmp_path) -> Storage:
    return open_storage(str(tmp_path)).child("simulated")


def text_of(target: str, *, trials: int = 40, more: str = "") -> str:
    return TEXT.replace(METRIC, f"target: {{{target}}}").replace(BUDGET, f"budget: {{max_trials: {trials}}}") + more


def psnr_of(record: TrialRecord) -> float:
    """A doubled width brings 4 dB, a rate that is wrong by a factor of ten costs 3."""
    width, lr = (float(record.parameters[p] or 0) for p in ("network.hidden.width", "training.optimizer.lr"))
    return 20 + 4 * math.log2(width / 4) - 3 * abs(math.log10(lr / 0.01))


def bytes_of(record: TrialRecord) -> float:
    return 40.0 * float(record.parameters["network.hidden.width"] or 0)


def row(record: TrialRecord, epoch: int) -> dict[str, float]:
    psnr = psnr_of(record) - 4 * 0.6**epoch
    width = float(record.parameters["network.hidden.width"] or 0)
    return {"epoch": float(epoch), "val_psnr_db": psnr, "val_loss": 10 ** (-psnr / 10), "num_parameters": 50 * width}


def stored(record: TrialRecord) -> dict[str, float]:
    return {"stored_bytes": bytes_of(record), "stored_psnr_db": record.curve[-1]["val_psnr_db"] - LOSS_OF_ROUNDING}


def run(driver: Driver) -> list[TrialRecord]:
    Simulation(driver, row=row, stored=stored).run()
    return list(driver.records.values())


FORECAST = "early_terminate: {type: forecast, min_iter: 3}\n"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_smallest_file_of_a_quality_is_found(storage: Storage, seed: int) -> None:
    driver = build_driver(storage, text_of("stored_psnr_db: 30", more=f"{FORECAST}seed: {seed}\n"))
    records = run(driver)
    board = ranked(records, spec=driver.spec)
    # At the best rate 30.4 dB before rounding need 24.2: the width is 25, the file 1,000 bytes.
    assert (board[0].best or {})["stored_psnr_db"] >= 30
    assert bytes_of(board[0]) <= 1_240
    stopped = [r for r in records if r.state == "PRUNED"]
    assert stopped
    assert all("expected to miss stored_psnr_db >= 30" in r.reason for r in stopped)
    could_not = [psnr_of(r) - 4 * 0.6**MAX_EPOCHS - LOSS_OF_ROUNDING < 30 for r in stopped]
    assert sum(could_not) >= 0.9 * len(stopped)


def test_the_best_picture_of_a_size_is_found(storage: Storage) -> None:
    driver = build_driver(storage, text_of("stored_bytes: 1200", more=FORECAST))
    records = run(driver)
    best = ranked(records, spec=driver.spec)[0]
    assert 1_080 <= bytes_of(best) <= 1_200  # a width of 27 to 30
    assert psnr_of(best) >= 30.5


def test_a_small_network_is_not_stopped_for_being_worse_than_a_large_one(storage: Storage) -> None:
    driver = build_driver(storage, text_of("stored_psnr_db: 5", more=FORECAST))
    records = run(driver)
    assert all(r.state == "FINISHED" for r in records)
    assert bytes_of(ranked(records, spec=driver.spec)[0]) == 160


def test_a_target_ends_once_its_margin_is_reached_and_stays_ended(storage: Storage) -> None:
    text = text_of("stored_psnr_db: 30, margin: 0.05, patience: 8", trials=200)
    driver = build_driver(storage, text)
    records = run(driver)
    assert driver.has_reached_goal
    assert (driver.exit_code, driver.stop_reason) == (
        0,
        "target.margin is reached: the last 8 trials bettered stored_bytes by less than 0.05 of it",
    )
    assert len(records) < 200
    assert all(
        bytes_of(r) >= 0.95 * bytes_of(ranked(records, spec=driver.spec)[0])
        for r in records[-8:]
        if r in ranked(records, spec=driver.spec)
    )
    again = build_driver(storage, text, records=records)
    assert again.has_reached_goal
    assert again.next() is None


def test_stop_at_ends_any_sweep_at_the_first_trial_that_is_good_enough(storage: Storage) -> None:
    text = TEXT.replace(METRIC, "metric: {name: val_psnr_db, goal: maximize}")
    text = text.replace(BUDGET, "budget: {max_trials: 200, stop_at: val_psnr_db >= 29}")
    driver = build_driver(storage, text)
    records = run(driver)
    good = [r for r in records if r.state == "FINISHED" and (r.best or {})["val_psnr_db"] >= 29]
    assert len(good) == 1
    assert (driver.stop_reason or "").startswith(f"budget.stop_at val_psnr_db >= 29 is met: {good[0].trial} has ")
    assert driver.exit_code == 0
    assert build_driver(storage, text, records=records).next() is None
    more = build_driver(storage, text.replace(">= 29", ">= 40"), records=records)
    assert more.next() is not None


def test_a_target_that_cannot_be_met_names_the_nearest(storage: Storage) -> None:
    driver = build_driver(storage, text_of("stored_psnr_db: 90", trials=8))
    records = run(driver)
    assert ranked(records, spec=driver.spec) == []
    nearest = max(records, key=lambda r: (r.best or {})["stored_psnr_db"])
    assert nearest_miss(records, spec=driver.spec) == nearest
    write_summary(storage, driver.spec, records)
    summary = json.loads(storage.get("best.json"))
    assert (summary["best"], summary["nearest_miss"]["trial"]) == (None, nearest.trial)


def test_a_target_does_not_change_under_a_name(storage: Storage) -> None:
    before, after = (build_driver(storage, text_of(f"stored_psnr_db: {n}")).spec for n in (30, 31))
    with pytest.raises(RequestError, match=r"target\.stored_psnr_db"):
        refuse_other_spec(before, after, where="here")
    stops = build_driver(storage, text_of("stored_psnr_db: 30").replace("40}", "40, stop_at: stored_bytes < 9}")).spec
    refuse_other_spec(before, stops, where="here")
