"""Early stopping rules over curves."""

from __future__ import annotations

from hoir_ray.search.stopping import build_rule
from hoir_ray.spec.early_terminate import AshaSpec, MedianSpec, NoStopSpec
from hoir_ray.spec.metric import MetricSpec

MAX = (MetricSpec(name="m", goal="maximize"),)
MIN = (MetricSpec(name="m", goal="minimize"),)


def test_asha_keeps_the_best_third_at_each_rung():
    rule = build_rule(AshaSpec(type="asha", min_iter=1, eta=3), metrics=MAX)
    values = [5.0, 4.0, 6.0, 3.0, 5.5, 7.0]
    stopped = [rule.decide(f"t{i}", epoch=1, value=v) is not None for i, v in enumerate(values)]
    # The first is alone; each next one must be among the best third of those seen so far, at least the best one.
    assert stopped == [False, True, False, True, True, False]


def test_asha_asks_once_at_a_rung_and_again_at_the_next():
    rule = build_rule(AshaSpec(type="asha", min_iter=2, eta=2), metrics=MIN)
    assert rule.decide("a", epoch=1, value=9.0) is None
    for epoch in range(2, 9):
        assert rule.decide("a", epoch=epoch, value=1.0) is None
    assert rule.decide("b", epoch=1, value=99.0) is None
    assert rule.decide("b", epoch=2, value=0.5) is None
    assert rule.decide("b", epoch=3, value=99.0) is None
    reason = rule.decide("b", epoch=4, value=1.5)
    assert reason is not None
    assert "a leads with 1" in reason


def test_asha_takes_the_next_report_when_validation_skips_a_rung():
    rule = build_rule(AshaSpec(type="asha", min_iter=3, eta=3), metrics=MAX)
    assert rule.decide("a", epoch=4, value=2.0) is None
    assert rule.decide("b", epoch=5, value=1.0) is not None


def test_asha_has_no_rung_from_max_iter_on():
    rule = build_rule(AshaSpec(type="asha", min_iter=1, eta=3, max_iter=3), metrics=MAX)
    rule.decide("a", epoch=1, value=1.0)
    rule.decide("a", epoch=3, value=9.0)
    rule.decide("b", epoch=1, value=2.0)
    assert rule.decide("b", epoch=3, value=1.0) is None


def test_median_compares_with_others_that_came_as_far():
    rule = build_rule(MedianSpec(type="median", min_iter=2, min_trials=2), metrics=MAX)
    for name, value in (("a", 4.0), ("b", 6.0)):
        for epoch in (1, 2, 3):
            assert rule.decide(name, epoch=epoch, value=value) is None
    assert rule.decide("c", epoch=1, value=1.0) is None
    reason = rule.decide("c", epoch=2, value=3.0)
    assert reason is not None
    assert "median of 2 other trials" in reason
    assert rule.decide("d", epoch=2, value=5.5) is None


def test_none_never_stops():
    rule = build_rule(NoStopSpec(), metrics=MAX)
    assert rule.decide("a", epoch=100, value=-1e9) is None
