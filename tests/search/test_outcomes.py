"""Evidence from ended trials: estimates of stopped ones, failures, bad numbers, and what a model is made of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoir_ray.results.record import TrialRecord
from hoir_ray.search.gaussian_process.evidence import KnownTrials
from hoir_ray.search.gaussian_process.outcomes import Trace, outcomes, quantities_of, trace_of
from tests.search.play import spec_of

QUALITY = spec_of("metric: {name: quality, goal: maximize}\n")
QUANTITIES = quantities_of(QUALITY, known=frozenset())


def record(number, curve, *, state="FINISHED", **more):
    rows = tuple({"epoch": float(e), "quality": q} for e, q in enumerate(curve, start=1))
    known = [r for r in rows if r["quality"] == r["quality"]]
    best = max(known, key=lambda r: r["quality"]) if known else None
    return TrialRecord(
        trial=f"t{number}", number=number, parameters={"a": 1}, state=state, curve=rows, best=best, **more
    )


def trace(*args, **more) -> Trace:
    found = trace_of(record(*args, **more), quantities=QUANTITIES, leading=QUALITY.metric, facts={})
    assert found is not None
    return found


def curve_to(end, *, epochs=9, start=10.0):
    """Half of what is missing is gained with each epoch."""
    return [end - (end - start) * 0.5**e for e in range(1, epochs + 1)]


def test_a_trace_has_the_best_so_far_and_less_is_better():
    found = trace(1, [3.0, math.nan, 2.0, 5.0])
    assert found.epochs.tolist() == [1, 2, 3, 4]
    assert found.values[:, 0].tolist() == [-3, -3, -3, -5]
    assert [found.place(e) for e in (0.5, 1, 3.5, 9)] == [-1, 0, 2, 3]


def test_stopped_trials_are_estimated_at_their_end_with_an_honest_deviation():
    generator = np.random.default_rng(0)
    inputs = generator.random((30, 2))
    ends = 20 + 10 * inputs[:, 0]
    traces = [trace(i, curve_to(e)) for i, e in enumerate(ends[:20])]
    traces += [trace(20 + i, curve_to(e)[:3], state="PRUNED") for i, e in enumerate(ends[20:])]
    found = outcomes(traces, inputs, quantities=QUANTITIES)[0]
    unit = found.warp.unit
    assert found.values[:20] * unit == pytest.approx(-ends[:20], rel=0.01)
    assert (found.variances[:20] == 0).all()
    missed = found.values[20:] * unit + np.array([curve_to(e)[-1] for e in ends[20:]])
    stood = np.array([curve_to(e)[-1] - curve_to(e)[2] for e in ends[20:]])
    assert np.abs(missed).max() < 0.3 * stood.max()
    assert (np.abs(missed) <= 3 * unit * np.sqrt(found.variances[20:])).all()


def test_without_finished_trials_a_stopped_one_counts_for_little():
    traces = [trace(i, curve_to(20 + i)[:3], state="PRUNED") for i in range(6)]
    found = outcomes(traces, np.zeros((6, 1)), quantities=QUANTITIES)[0]
    assert (found.variances >= np.var([t.values[-1, 0] / found.warp.unit for t in traces])).all()
    assert np.argsort(found.values).tolist() == [5, 4, 3, 2, 1, 0]


def test_failed_trials_are_as_bad_as_the_worst_and_lost_machines_say_nothing():
    good = [trace(i, curve_to(20 + i)) for i in range(5)]
    failed = trace(9, [], state="FAILED", num_failures=1)
    found = outcomes([*good, failed], np.zeros((6, 1)), quantities=QUANTITIES)[0]
    assert found.values[5] == found.values[:5].max()
    assert found.variances[5] > 0
    lost = record(7, [], state="FAILED", num_preemptions=3)
    assert trace_of(lost, quantities=QUANTITIES, leading=QUALITY.metric, facts={}) is None


def test_a_curve_of_nan_is_a_failure():
    found = trace(1, [math.nan, math.nan])
    assert found.state == "failed"


def test_a_bad_tail_is_cut_so_that_good_ones_still_differ():
    traces = [trace(i, [q]) for i, q in enumerate([30.0, 29.0, 28.0, 27.0, -1e6])]
    found = outcomes(traces, np.zeros((5, 1)), quantities=QUANTITIES)[0]
    assert found.values * found.warp.unit == pytest.approx([-30, -29, -28, -27, -28 + 2 * 2])


def test_a_metric_over_orders_of_magnitude_is_modelled_in_logarithms():
    quantities = quantities_of(spec_of(), known=frozenset())
    ends = [1e-9, 1e-3, 1e3, 1e200]
    traces = [Trace(np.array([1.0]), np.array([[e]]), "finished") for e in ends]
    found = outcomes(traces, np.zeros((4, 1)), quantities=quantities)[0]
    assert found.warp.log
    assert np.diff(found.values)[:2] == pytest.approx([math.log(1e6), math.log(1e6)])


def test_constraints_on_measured_metrics_are_quantities_and_known_ones_are_not():
    spec = spec_of(
        "metric: {name: loss}\nconstraints: [num_parameters <= 10, loss < 4, 'ssim > 0.5 and time_s <= 2']\n"
    )
    found = quantities_of(spec, known=frozenset({"num_parameters"}))
    assert [q.name for q in found] == ["loss", "loss < 4", "ssim > 0.5 and time_s <= 2"]
    assert found[1].read({"loss": 5.0}) == pytest.approx(0.25)
    assert found[2].read({"ssim": 0.9, "time_s": 1.0}) == pytest.approx(-0.5)
    assert found[2].read({"ssim": 0.4, "time_s": 1.0}) == pytest.approx(0.2)
    assert math.isnan(found[2].read({"ssim": 0.4}))


# -- which trials ---------------------------------------------------------------------------------------------------


def known_of(losses, order=None):
    known = KnownTrials()
    for i in range(len(losses)) if order is None else order:
        values = np.atleast_2d(losses[i])
        one = Trace(np.array([1.0]), values, "finished")
        known.add(i, point={"a": i}, trace=one, num_metrics=values.shape[1])
    return known


@given(st.permutations(range(40)), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=40, max_size=40))
def test_the_choice_depends_on_the_set_and_not_on_its_order(order, losses):
    for take in (lambda pair: pair[:1], lambda pair: pair):
        some = [take(pair) for pair in losses]
        assert known_of(some).chosen(count=12, best=5) == known_of(some, order).chosen(count=12, best=5)


def test_the_best_and_the_front_are_among_the_chosen():
    generator = np.random.default_rng(1)
    single = generator.random((500, 1))
    chosen = known_of(single).chosen(count=50, best=20)
    assert len(chosen) == 50
    assert set(np.argsort(single[:, 0])[:20]) <= set(chosen)
    pairs = generator.random((500, 2)) + 0.2
    pairs[100:105] = [[0.0, 0.2], [0.05, 0.15], [0.1, 0.1], [0.15, 0.05], [0.2, 0.0]]
    assert {100, 101, 102, 103, 104} <= set(known_of(pairs).chosen(count=50, best=20))


def test_a_new_trial_seldom_changes_the_choice():
    generator = np.random.default_rng(2)
    known, changes, before = KnownTrials(), 0, ()
    for i in range(3000):
        one = Trace(np.array([1.0]), generator.random((1, 1)), "finished")
        known.add(i, point={}, trace=one, num_metrics=1)
        chosen = known.chosen(count=50, best=10)
        changes += i >= 2000 and chosen != before
        before = chosen
    assert changes < 60
