"""Incremental state equals that computed from all trials; the sampler's evidence stays bounded."""

from __future__ import annotations

import random

import pytest
from optuna.trial import TrialState

from hoir_ray.results.front import leaders
from hoir_ray.search import optuna_searcher as searcher
from hoir_ray.search.evidence import representative_subset
from hoir_ray.search.stopping import build_rule
from hoir_ray.search.tpe import ConditionalTPE
from hoir_ray.spec.early_terminate import AshaSpec, MedianSpec
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.storage import open_storage
from hoir_ray.testing.example import TEXT, build_driver, run

TPE = TEXT + "method: tpe\n"
ASHA = TPE + "early_terminate: {type: asha, min_iter: 1, eta: 3}\n"
BOUND = TPE + "constraints: [quality >= 25]\n"
FRONT = TPE.replace(
    "metric: {name: quality, goal: maximize}",
    "metrics: [{name: quality, goal: maximize}, {name: num_parameters, goal: minimize}]",
)
MAX = (MetricSpec(name="m", goal="maximize"),)


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path)).child("simulated")


@pytest.fixture
def bounded(monkeypatch):
    monkeypatch.setattr(searcher, "KEPT_EVIDENCE", 20)
    monkeypatch.setattr(searcher, "MAX_EVIDENCE", 30)


def test_the_sampler_knows_a_bounded_part_with_the_best_in_it_and_all_that_runs(storage, bounded):
    driver = build_driver(storage, ASHA.replace("max_trials: 12", "max_trials: 400"))
    run(driver, slots=5, num_epochs=250)
    assert driver.board.num_ended > 60
    known = driver.searcher.trials
    assert sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in known) <= 30 + 5
    assert sum(t.state == TrialState.RUNNING for t in known) == len(driver.running) > 0
    best = max(r.best["quality"] for r in driver.records.values() if r.state == "FINISHED" and r.best)
    assert max(t.value for t in known if t.state == TrialState.COMPLETE and t.value is not None) == best
    run_on = len(driver.records)
    assert len({repr(sorted(r.parameters.items())) for r in driver.records.values()}) == run_on


def test_the_same_records_in_any_order_give_the_same_evidence(storage):
    driver = build_driver(storage, ASHA.replace("max_trials: 12", "max_trials: 80"))
    run(driver, slots=4)
    records = list(driver.records.values())
    chosen = representative_subset(records, spec=driver.spec, count=20)
    assert len(chosen) == 20
    assert [r.number for r in chosen] == sorted(r.number for r in chosen)
    random.Random(0).shuffle(records)
    assert representative_subset(records, spec=driver.spec, count=20) == chosen
    assert representative_subset(records, spec=driver.spec, count=500) == sorted(records, key=lambda r: r.number)


def test_tpe_draws_only_what_applies(storage):
    driver = build_driver(storage, ASHA.replace("max_trials: 12", "max_trials: 40"))
    run(driver)
    assert isinstance(driver.searcher._sampler, ConditionalTPE)
    for trial in driver.searcher.trials:
        nodes = "continuous" if trial.params["network.layer_type"] == "continuous" else "fourier"
        assert f"network.num_nodes@{nodes}" in trial.params or len(trial.params) == 4


@pytest.mark.parametrize("text", [ASHA, BOUND, FRONT], ids=["asha", "constraint", "front"])
def test_points_are_those_of_optunas_own_arithmetic(tmp_path, monkeypatch, text):
    text = text.replace("max_trials: 12", "max_trials: 90")
    points = []
    for name in ("ours", "optunas"):
        driver = build_driver(open_storage(str(tmp_path / name)), text)
        run(driver, slots=5)
        assert driver.board.num_ended == 90
        points.append([driver.records[trial].parameters for trial in sorted(driver.records)])
        if name == "ours":
            for method in ("_sample", "_get_internal_repr"):
                monkeypatch.delattr(ConditionalTPE, method)
    assert points[0] == points[1]


@pytest.mark.parametrize("text", [TEXT, FRONT], ids=["single", "front"])
def test_leaders_kept_are_those_of_all_trials(storage, text):
    driver = build_driver(storage, text.replace("max_trials: 12", "max_trials: 40"))

    class Check:
        def changed(self, record, event):
            assert driver.board.leaders == leaders(driver.records.values(), spec=driver.spec)

    driver.board.listeners.append(Check())
    run(driver, slots=3)
    assert driver.board.leaders
    assert driver.board.num_ended == sum(r.ended for r in driver.records.values()) == 40


def test_asha_stops_whom_a_sorted_rung_would_stop():
    generator, rule, seen = random.Random(0), build_rule(AshaSpec(type="asha", min_iter=1, eta=3), metrics=MAX), []
    for number in range(200):
        value = float(generator.randint(0, 50))
        seen.append((value, number))
        order = sorted(seen, key=lambda pair: -pair[0])  # equals in the order they came
        stays = len(seen) < 2 or (value, number) in order[: max(1, len(seen) // 3)]
        assert (rule.decide(f"t{number}", epoch=1, value=value) is None) == stays


def test_median_counts_a_trial_whose_validation_skips_the_epoch():
    rule = build_rule(MedianSpec(type="median", min_iter=1, min_trials=2), metrics=MAX)
    for epoch in (2, 4):
        for name, value in (("a", 4.0), ("b", 6.0)):
            assert rule.decide(name, epoch=epoch, value=value + epoch) is None
    reason = rule.decide("c", epoch=3, value=6.9)  # at epoch 3, a and b have what they had at epoch 2: 6 and 8
    assert reason is not None
    assert "6.9 is behind 7, the median of 2 other trials" in reason
    assert rule.decide("d", epoch=3, value=7.1) is None
