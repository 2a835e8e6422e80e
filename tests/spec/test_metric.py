"""The better of two values of a metric, by its goal."""

from __future__ import annotations

import math

import pytest

from hoir_ray.spec.metric import MetricSpec

MAX, MIN = MetricSpec(name="m", goal="maximize"), MetricSpec(name="m", goal="minimize")


@pytest.mark.parametrize(("metric", "best_first"), [(MAX, [3.0, 1.0, -2.0]), (MIN, [-2.0, 1.0, 3.0])])
def test_a_smaller_loss_is_better(metric, best_first):
    assert sorted([1.0, 3.0, -2.0], key=metric.loss) == best_first
    assert metric.better(best_first[0], best_first[1])
    assert not metric.better(best_first[1], best_first[0])
    assert not metric.better(1.0, 1.0)
    assert [metric.loss(metric.loss(v)) for v in best_first] == best_first


@pytest.mark.parametrize("metric", [MAX, MIN])
def test_nan_is_neither_better_nor_worse(metric):
    assert math.isnan(metric.loss(math.nan))
    assert not metric.better(math.nan, 1.0)
    assert not metric.better(1.0, math.nan)
