"""Several metrics: constraints after the trial, stopping by non-domination, packs of the front only."""

from __future__ import annotations

import random

import pytest
from optuna.trial import TrialState

from hoir_ray.errors import SpecError
from hoir_ray.results.front import beats, pareto_front
from hoir_ray.results.ranking import ranked
from hoir_ray.results.summary import write_summary
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.search.stopping import build_rule
from hoir_ray.search.stopping.mo_asha import Fronts
from hoir_ray.spec.conditions import parse_condition
from hoir_ray.spec.early_terminate import MoAshaSpec
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.storage import Storage, open_storage
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.sweep.front_packs import FrontPacks
from hoir_ray.testing.example import TEXT, build_driver, quality
from hoir_ray.testing.simulation import Simulation

FRONT = TEXT.replace(
    "metric: {name: quality, goal: maximize}",
    "metrics: [{name: quality, goal: maximize}, {name: num_parameters, goal: minimize}]",
)
BOTH = (MetricSpec(name="q", goal="maximize"), MetricSpec(name="size", goal="minimize"))


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path)).child("simulated")


def run_to_the_end(driver: Driver, storage: Storage | None = None) -> None:
    """Run all trials one after the other, with a model in storage."""

    def row(record, epoch):
        width = float(record.parameters["network.hidden.width"] or 0)
        shown = {"epoch": float(epoch), "quality": quality(record.parameters, epoch)}
        return {**shown, "num_parameters": width, "val_ssim": width / 64}

    def publish(record):
        if storage is not None:
            storage.put(f"models/{record.trial}/manifest.json", b"{}")

    Simulation(driver, row=row, publish=publish).run()


@pytest.mark.parametrize("method", ["tpe", "nsga2"])
def test_a_constraint_after_the_trial_keeps_it_out_of_best_and_front_and_teaches_the_sampler(storage, method):
    text = FRONT + f"constraints: [val_ssim <= 0.5]\nmethod: {method}\n"
    driver = build_driver(storage, text.replace("max_trials: 12", "max_trials: 40"))
    run_to_the_end(driver)
    records = tuple(driver.records.values())
    broken = {r.trial for r in records if (r.best or {})["val_ssim"] > 0.5}
    assert broken
    opened = SweepResults(storage, driver.spec, records)
    assert not broken & {r.trial for r in [*opened.leaderboard(), *opened.front()]}
    told = [t for t in driver.searcher.trials if t.state == TrialState.COMPLETE]
    assert len(told) == 40
    assert sum(v > 0 for t in told for v in t.constraints.values()) == len(broken)
    again = build_driver(storage, text, records=list(records))
    assert [t.constraints for t in again.searcher.trials] == [t.constraints for t in told]


def test_the_sampler_learns_where_constraints_hold(storage):
    text = TEXT.replace("max_trials: 12", "max_trials: 60") + "constraints: [val_ssim <= 0.25]\n"
    driver = build_driver(storage, text)
    run_to_the_end(driver)
    feasible = [(r.best or {})["val_ssim"] <= 0.25 for r in driver.records.values()]
    assert sum(feasible[30:]) > sum(feasible[:10]) * 3 * 1.3


def test_violation_grows_with_the_distance_and_is_zero_inside():
    condition = parse_condition("a <= 10 and (b > 1 or c > 1)")
    inside, near, far = ({"a": a, "b": b, "c": 0.0} for a, b in ((10, 2), (11, 2), (20, 0)))
    assert condition.violation(inside) == 0
    assert 0 < condition.violation(near) < condition.violation(far)
    assert condition.violation({"a": 1}) == 1
    assert parse_condition("a < 1").violation({"a": 1}) > 0
    assert parse_condition("not a < 1").violation({"a": 0}) == 1


def test_mo_asha_keeps_who_is_best_in_something():
    rule = build_rule(MoAshaSpec(type="mo_asha", min_iter=1, eta=2), metrics=BOTH)

    def stopped(name: str, q: float, size: float) -> bool:
        return rule.decide(name, epoch=1, value=q, row={"q": q, "size": size}) is not None

    assert not stopped("big", 10, 100)
    assert stopped("worse", 9, 200)
    assert not stopped("small", 1, 1)  # worst by the first metric, and still on the front
    assert stopped("middle", 5, 50)  # on the front as well, but half of four is two, and the ends stay
    assert stopped("bad", 0, 500)


def test_mo_asha_says_why():
    rule = build_rule(MoAshaSpec(type="mo_asha", min_iter=1, eta=3), metrics=BOTH)
    rule.decide("a", epoch=1, value=2.0, row={"q": 2.0, "size": 1.0})
    assert rule.decide("b", epoch=1, value=1.0, row={"q": 1.0, "size": 3.0}) == (
        "epoch 1: q 1, size 3 is on front 2 of 2, not among the best 1 of 2 trials there"
    )


def fronts_by_definition(points: dict[str, tuple[float, ...]]) -> list[set[str]]:
    left, fronts = dict(points), list[set[str]]()
    while left:
        fronts.append({n for n, p in left.items() if not any(beats(other, p) for other in left.values())})
        left = {n: p for n, p in left.items() if n not in fronts[-1]}
    return fronts


@pytest.mark.parametrize("num_metrics", [2, 3])
def test_fronts_kept_as_points_come_are_those_of_the_definition(num_metrics):
    generator, fronts, points = random.Random(0), Fronts(), {}
    for number in range(120):
        point = tuple(float(generator.randint(0, 12)) for _ in range(num_metrics))
        points[str(number)] = point
        place = fronts.add(str(number), point)
        expected = fronts_by_definition(points)
        assert [set(front) for front in fronts.members] == expected
        assert str(number) in expected[place]
        for count in (1, number // 3, number + 1):
            among = [n for at, front in enumerate(expected) for n in front if fronts.is_among(n, at, count)]
            assert len(among) == min(count, len(points))


def test_a_missing_metric_is_the_worst():
    rule = build_rule(MoAshaSpec(type="mo_asha", min_iter=1, eta=2), metrics=BOTH)
    rule.decide("a", epoch=1, value=1.0, row={"q": 1.0, "size": 5.0})
    assert rule.decide("b", epoch=1, value=float("nan"), row={"q": float("nan")}) is not None


def test_mo_asha_needs_several_metrics(storage):
    with pytest.raises(SpecError, match="mo_asha ranks by several metrics"):
        build_driver(storage, TEXT + "early_terminate: {type: mo_asha}\n")


def test_stopped_trials_of_several_metrics_are_told_as_pruned(storage):
    text = FRONT.replace("max_trials: 12", "max_trials: 30") + "early_terminate: {type: mo_asha, min_iter: 1, eta: 3}\n"
    driver = build_driver(storage, text := text + "method: tpe\n")
    run_to_the_end(driver)
    states = [r.state for r in driver.records.values()]
    assert states.count("PRUNED") > 3
    told = [t.state for t in driver.searcher.trials]
    assert told.count(TrialState.PRUNED) == states.count("PRUNED")
    again = build_driver(storage, text, records=list(driver.records.values()))
    assert sorted(t.state for t in again.searcher.trials) == sorted(told)


def test_packs_are_kept_for_the_whole_front_and_only_for_it(storage):
    driver = build_driver(storage, FRONT.replace("max_trials: 12", "max_trials: 25"))
    driver.board.listeners.append(FrontPacks(driver.board, storage))
    run_to_the_end(driver, storage)
    records = list(driver.records.values())
    front = {r.trial for r in pareto_front(ranked(records, spec=driver.spec), metrics=driver.spec.metrics)}
    assert 1 < len(front) < 25
    assert {r.trial for r in records if r.model} == front
    assert {o.key.split("/")[1] for o in storage.list("models")} == front
    write_summary(storage, driver.spec, records)


def test_a_pack_left_by_a_killed_driver_is_removed_at_the_next_start(storage):
    driver = build_driver(storage, FRONT)
    run_to_the_end(driver, storage)
    orphan = next(iter(driver.records.values())).change(model=None)
    again = build_driver(storage, FRONT, records=[orphan])
    FrontPacks(again.board, storage)
    assert not [o for o in storage.list("models") if f"/{orphan.trial}/" in o.key]
