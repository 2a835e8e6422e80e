"""The searcher as a sweep uses it: what it finds, the same points again, batches, constraints, and bad input."""

from __future__ import annotations

import itertools
import logging
import math

import numpy as np
import pytest

from hoir_ray.errors import WorkError
from hoir_ray.search.gaussian_process import beliefs as beliefs_module
from hoir_ray.search.gaussian_process import searcher as searcher_module
from hoir_ray.search.gaussian_process.candidates import key_of, random_point
from hoir_ray.search.gaussian_process.encoding import Encoding
from hoir_ray.search.searcher import build_searcher
from hoir_ray.spec.space import Space
from tests.search.play import allowed, best, choice, ended, number, play, spec_of

KINDS = ("continuous", "polynomial", "fourier")
SPACE = Space(
    (
        choice("kind", *KINDS),
        number("width", 4, 64, step=1, is_int=True),
        number("lr", 1e-4, 1e-1, log=True),
        number("segments", 4, 64, log=True, step=1, is_int=True, when={"kind": ("continuous",)}),
        number("nodes", 3, 31, step=1, is_int=True, when={"kind": ("polynomial", "fourier")}),
    )
)


def loss(point):
    """At its least, 0, for continuous with 30 segments, width 40 and a rate of 3e-3; each kind has its own best."""
    value = abs(math.log(point["lr"] / 3e-3)) + abs(point["width"] - 40) / 12
    if point["kind"] == "continuous":
        value += 2 * abs(math.log(point["segments"] / 30))
    else:
        value += {"polynomial": 1.0, "fourier": 2.0}[point["kind"]] + abs(point["nodes"] - 12) / 4
    return {"loss": value}


def searcher_of(more="metric: {name: loss}\n", *, space=SPACE, seed=0, **what):
    return build_searcher(spec_of(more, seed=seed), space, **what)


def parameters(records):
    return [r.parameters for r in records]


def trials_until(records, goal):
    return next((r.number for r in records if r.best and r.best["loss"] <= goal), math.inf)


# -- what it finds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_best_corner_of_a_conditional_space_is_found_in_a_fraction_of_random_searchs_trials(seed):
    records = play(searcher_of(seed=seed), loss, trials=60, running=2)
    generator = np.random.default_rng(seed)
    by_chance = min(loss(random_point(SPACE, generator))["loss"] for _ in range(600))
    assert best(records) < by_chance
    assert trials_until(records, 0.6) <= 60


def test_noise_does_not_lead_astray():
    generator = np.random.default_rng(0)
    records = play(searcher_of(), lambda p: {"loss": loss(p)["loss"] + 0.2 * generator.standard_normal()}, trials=60)
    assert min(loss(r.parameters)["loss"] for r in records) < 0.5


def test_constraints_on_what_is_measured_are_learned():
    def measured(point):
        return {"loss": -point["x"] - point["y"], "time_s": point["x"] ** 2 + point["y"] ** 2}

    space = Space((number("x", 0.0, 1.0), number("y", 0.0, 1.0), number("z", 0.0, 1.0)))
    searcher = searcher_of("metric: {name: loss}\nconstraints: [time_s <= 0.5]\n", space=space)
    records = play(searcher, measured, trials=40)
    feasible = [r for r in records if r.best["time_s"] <= 0.5]
    assert min(r.best["loss"] for r in feasible) < -0.97  # at best -1
    assert len([r for r in feasible if r.number > 20]) >= 8


def test_where_nothing_is_feasible_yet_feasibility_is_what_is_looked_for():
    space = Space((number("x", 0.0, 1.0), number("y", 0.0, 1.0), number("z", 0.0, 1.0)))

    def measured(point):
        return {"loss": -point["x"], "time_s": 10 * (point["x"] + point["y"] + point["z"])}

    searcher = searcher_of("metric: {name: loss}\nconstraints: [time_s <= 1]\n", space=space)
    records = play(searcher, measured, trials=25)
    assert sum(r.best["time_s"] <= 1 for r in records) >= 5


def test_no_point_is_asked_for_that_its_config_alone_forbids():
    searcher = searcher_of()
    records = play(searcher, loss, trials=40, refuse=lambda p: None if p["width"] <= 30 else "width <= 30")
    assert max(r.parameters["width"] for r in records) <= 30
    assert best(records) < loss({"kind": "continuous", "segments": 30, "lr": 3e-3, "width": 30})["loss"] + 0.6


def test_two_metrics_give_a_front_from_end_to_end():
    def measured(point):
        away = abs(math.log(point["lr"] / 3e-3))
        return {"loss": 64 / point["width"] + away, "num_parameters": float(point["width"] ** 2)}

    goals = "metrics: [{name: loss}, {name: num_parameters}]\n"
    searcher = searcher_of(goals, facts=lambda p: {"num_parameters": float(p["width"] ** 2)})
    records = play(searcher, measured, trials=50)
    good = [r for r in records if r.best["loss"] < 1.2 * 64 / r.parameters["width"]]
    assert len({r.parameters["width"] // 10 for r in good}) >= 5
    by_chance = play(searcher_of(goals), measured, trials=8)
    assert len(by_chance) == 8


def test_a_front_of_small_networks_does_not_hide_larger_ones():
    space = Space((number("width", 4, 64, step=1, is_int=True), number("rate", 0.0, 1.0)))

    def measured(point):
        return {"loss": 64 / point["width"] + 40 * (point["rate"] - 0.5) ** 2, "size": float(point["width"] ** 2)}

    points = [{"width": w, "rate": 0.5} for w in range(4, 14)] + [{"width": 60, "rate": 0.0}]
    past = [ended(i, p, measured(p)) for i, p in enumerate(points, start=1)]
    goals = "metrics: [{name: loss}, {name: size}]\n"
    searcher = searcher_of(goals, space=space, records=past, facts=lambda p: {"size": float(p["width"] ** 2)})
    asked = parameters(play(searcher, measured, trials=19, past=past))[11:]
    assert max(p["width"] for p in asked) > 20


# -- the same points ------------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_points_and_another_one_others():
    first, again, other = (play(searcher_of(seed=s), loss, trials=25, running=3) for s in (1, 1, 2))
    assert parameters(first) == parameters(again)
    assert parameters(first) != parameters(other)


@pytest.mark.parametrize("taken_up_at", [3, 9, 20])
def test_a_resumed_search_asks_for_what_an_uninterrupted_one_would(taken_up_at):
    whole = play(searcher_of(), loss, trials=30)
    past = whole[:taken_up_at]
    resumed = play(searcher_of(records=past), loss, trials=30, past=past)
    assert parameters(resumed) == parameters(whole)


def test_trials_that_run_are_taken_up_with_the_search():
    searcher = searcher_of()
    past = play(searcher, loss, trials=15)
    points = [searcher.ask(f"t{n:04d}", refuse=allowed) for n in (16, 17, 18)]
    next_point = searcher.ask("t0019", refuse=allowed)
    again = searcher_of(records=past)
    for n, point in zip((16, 17, 18), points, strict=True):
        again.reopen(ended(n, point, {}, state="PENDING"))
    assert again.ask("t0019", refuse=allowed) == next_point


def test_the_order_in_which_trials_ended_changes_nothing():
    past = play(searcher_of(), loss, trials=20)
    asked = [searcher_of(records=records).ask("t0021", refuse=allowed) for records in (past, past[::-1])]
    assert asked[0] == asked[1]


def test_few_trials_of_many_are_modelled_and_the_search_goes_on_from_the_best(monkeypatch):
    for name, count in {"MODEL_TRIALS": 25, "BEST_TRIALS": 10, "FIT_TRIALS": 15, "BEST_FIT_TRIALS": 5}.items():
        monkeypatch.setattr(searcher_module, name, count)
    searcher = searcher_of()
    records = play(searcher, loss, trials=70)
    assert len(searcher._believe()[1]) == 5
    assert len(searcher._beliefs[0]) == 25
    assert best(records) < 0.6


# -- batches --------------------------------------------------------------------------------------------------------


def test_256_running_trials_are_256_different_points_spread_wide():
    searcher = searcher_of()
    play(searcher, loss, trials=20)
    batch = [searcher.ask(f"t{21 + i:04d}", refuse=allowed) for i in range(256)]
    assert len({key_of(p) for p in batch}) == 256
    assert {p["kind"] for p in batch} == set(KINDS)
    encoding = Encoding(SPACE)
    rows = np.array([encoding.encode(p, facts={}) for p in batch])
    apart = np.array([np.sort(np.linalg.norm(rows - row, axis=1))[1] for row in rows])
    assert np.median(apart) > 0.04
    assert np.quantile(apart, 0.1) >= 0.02


def test_warm_points_come_first_and_are_completed():
    from hoir_ray.search.warm_start import WarmStartData

    first = ({"kind": "fourier", "width": 7}, {"lr": 0.01, "width": 9})
    records = play(searcher_of(warm_start=WarmStartData(points=first)), loss, trials=3)
    assert records[0].parameters.items() >= first[0].items()
    assert records[1].parameters.items() >= first[1].items()
    assert set(records[0].parameters) == {"kind", "width", "lr", "nodes"}


def test_results_of_an_earlier_sweep_are_evidence():
    from hoir_ray.search.warm_start import WarmStartData

    past = tuple(play(searcher_of(seed=9), loss, trials=40))
    records = play(searcher_of(warm_start=WarmStartData(observed=past)), loss, trials=6)
    assert best(records) < 1.5


# -- bad input ------------------------------------------------------------------------------------------------------


def test_a_space_with_nothing_to_choose_is_one_trial():
    space = Space((choice("a", 1), number("b", 3.0, 3.0)))
    records = play(searcher_of(space=space), lambda p: {"loss": 1.0}, trials=5)
    assert parameters(records) == [{"a": 1, "b": 3.0}]


def test_every_point_of_a_small_space_is_tried_once():
    space = Space((choice("a", *range(5)), choice("b", "x", "y", "z")))
    records = play(searcher_of(space=space), lambda p: {"loss": p["a"]}, trials=100, running=4)
    assert {(p["a"], p["b"]) for p in parameters(records)} == set(itertools.product(range(5), "xyz"))
    assert len(records) == 15


def test_a_range_of_six_hundred_decades_is_searched():
    space = Space((number("a", 1e-300, 1e300, log=True), number("b", 1e-300, 1e300)))
    records = play(searcher_of(space=space), lambda p: {"loss": abs(math.log10(p["a"]) - 50)}, trials=40)
    assert best(records) < 20


def test_sixty_dimensions():
    space = Space(tuple(number(f"x{i}", 0.0, 1.0) for i in range(60)))
    value = lambda p: {"loss": sum((p[f"x{i}"] - 0.7) ** 2 for i in range(4)) * 10}  # noqa: E731
    records = play(searcher_of(space=space), value, trials=60)
    generator = np.random.default_rng(0)
    by_chance = min(value(random_point(space, generator))["loss"] for _ in range(120))
    assert best(records) < by_chance


def test_a_metric_that_never_changes():
    records = play(searcher_of(), lambda p: {"loss": 3.0}, trials=25)
    assert len({key_of(p) for p in parameters(records)}) == 25


def test_nan_in_half_of_the_space_is_kept_away_from(caplog):
    def half(point):
        return {"loss": math.nan if point["width"] > 34 else loss(point)["loss"]}

    records = play(searcher_of(), half, trials=60)
    late = [r for r in records if r.number > 20]
    assert sum(r.state == "FAILED" for r in late) < len(late) / 3
    assert best(records) < loss({"kind": "continuous", "segments": 30, "lr": 3e-3, "width": 34})["loss"] + 1.0
    assert not caplog.records


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_a_metric_of_huge_or_tiny_spread(scale, caplog):
    records = play(searcher_of(), lambda p: {"loss": loss(p)["loss"] * scale}, trials=50)
    assert best(records) < 0.8 * scale
    assert not caplog.records


def test_a_metric_over_six_hundred_decades():
    records = play(searcher_of(), lambda p: {"loss": 10.0 ** min(300.0, 100 * loss(p)["loss"] - 300)}, trials=50)
    assert min(loss(r.parameters)["loss"] for r in records) < 1.5


def test_constraints_that_nothing_meets_are_said():
    with pytest.raises(WorkError, match=r"no point in [\d,]+ draws meets the constraints; the last: too wide"):
        searcher_of().ask("t0001", refuse=lambda p: "too wide")


def test_a_numerical_failure_is_one_line_and_another_search(caplog, monkeypatch):
    def broken(*_, **__):
        raise np.linalg.LinAlgError("no root")

    monkeypatch.setattr(beliefs_module, "fit_model", broken)
    with caplog.at_level(logging.WARNING):
        records = play(searcher_of(), loss, trials=12)
    assert len({key_of(p) for p in parameters(records)}) == 12
    assert [r.getMessage() for r in caplog.records] == [
        "the model of 8 trials failed (no root); TPE asks for points instead"
    ]
