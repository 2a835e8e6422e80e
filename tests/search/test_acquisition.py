"""Acquisition functions, compared with numerical integrals and with counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from hoir_ray.search.gaussian_process.acquisition import (
    expected_hypervolume_gain,
    free_boxes,
    log_expected_improvement,
    log_feasibility,
    non_dominated,
)
from hoir_ray.search.gaussian_process.model import Prediction


def prediction(mean, deviation):
    return Prediction(np.array(mean, float), np.array(deviation, float))


@pytest.mark.parametrize(("mean", "deviation", "best"), [(0.0, 1.0, 0.5), (3.0, 1.0, 0.0), (-2.0, 0.3, 1.0)])
def test_expected_improvement_is_the_integral(mean, deviation, best):
    gain, _ = quad(lambda y: (best - y) * norm.pdf(y, mean, deviation), mean - 12 * deviation, best)
    found = log_expected_improvement(prediction([mean], [deviation]), best=best)
    assert found[0] == pytest.approx(math.log(gain), rel=1e-6)


def test_far_from_the_best_points_still_differ():
    means = np.array([1.0, 10.0, 50.0, 500.0, 1e4, 1e6])
    found = log_expected_improvement(prediction(means, np.ones(6)), best=0.0)
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all()


def test_feasibility_is_the_probability_below_zero():
    found = log_feasibility(prediction([-1.0, 0.0, 40.0], [1.0, 2.0, 1.0]))
    assert found[:2] == pytest.approx([math.log(norm.cdf(1)), math.log(0.5)])
    assert -1000 < found[2] < -700


@st.composite
def fronts(draw):
    metrics = draw(st.integers(2, 4))
    rows = draw(st.lists(st.lists(st.integers(0, 6), min_size=metrics, max_size=metrics), min_size=1, max_size=9))
    losses = np.array(rows, float)
    return losses[non_dominated(losses)]


@given(fronts(), st.integers(0, 2**32 - 1))
def test_free_boxes_hold_each_free_place_once_and_no_other(front, seed):
    places = np.random.default_rng(seed).uniform(-1, 7, (200, front.shape[1]))
    boxes = free_boxes(front)
    edges = [np.concatenate([np.unique(front[:, k]), [7.0], [-np.inf]]) for k in range(front.shape[1])]
    low = np.column_stack([edges[k][boxes[:, k, 0]] for k in range(front.shape[1])])
    high = np.column_stack([edges[k][boxes[:, k, 1]] for k in range(front.shape[1])])
    for place in places:
        free = not (front <= place).all(1).any()
        assert ((low <= place) & (place < high)).all(1).sum() == free


@pytest.mark.parametrize("metrics", [2, 3])
def test_expected_hypervolume_gain_is_what_samples_gain(metrics):
    generator = np.random.default_rng(metrics)
    losses = generator.random((12, metrics))
    front = losses[non_dominated(losses)]
    mean, deviation = generator.random((3, metrics)), np.full((3, metrics), 0.3)
    reference = np.full(metrics, 1.1)
    asked = [prediction(mean[:, k], deviation[:, k]) for k in range(metrics)]
    found = expected_hypervolume_gain(asked, front=front, reference=reference)
    low = -1.5  # five deviations below what any sample may be
    grid = generator.uniform(low, 1.1, (200_000, metrics))
    free = grid[~(front[None] <= grid[:, None]).all(2).any(1)]
    for i in range(3):
        chance = norm.cdf((free - mean[i]) / deviation[i]).prod(1)  # of a place to be covered by the sample
        volume = chance.sum() / len(grid) * (1.1 - low) ** metrics
        assert found[i] == pytest.approx(volume, rel=0.03)


def test_a_known_point_behind_the_front_gains_nothing():
    front = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    asked = [prediction([0.6, 0.4], [1e-12, 1e-12]), prediction([0.6, 0.4], [1e-12, 1e-12])]
    found = expected_hypervolume_gain(asked, front=front, reference=np.full(2, 1.1))
    assert found == pytest.approx([0.0, 0.1 * 0.1 + 2 * 0.1 * 0.5], abs=1e-9)
