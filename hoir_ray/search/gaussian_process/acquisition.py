"""Acquisition functions: the value of trying a point, given the models' predictions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import erfcx, log_ndtr, ndtr

from hoir_ray.search.gaussian_process.model import Prediction

Vector = Float[np.ndarray, " m"]
MOST_ON_FRONT = {2: 60, 3: 20, 4: 10}  # points, for so many metrics


def log_expected_improvement(prediction: Prediction, *, best: float) -> Vector:
    """The logarithm of by how much a loss is expected to fall below `best`; finite where the gain itself underflows.

    Source: Ament et al. 2023, "Unexpected Improvements to Expected Improvement", equation 9.
    """
    z = (best - prediction.mean) / prediction.deviation
    return _log_gain(z) + np.log(prediction.deviation)


def _log_gain(z: Vector) -> Vector:
    """log(phi(z) + z Phi(z))."""
    log_density = -0.5 * z * z - 0.5 * np.log(2 * np.pi)
    near = np.maximum(z, -1.0)
    direct = np.log(np.exp(-0.5 * near * near) / np.sqrt(2 * np.pi) + near * np.exp(log_ndtr(near)))
    far = np.minimum(z, -1.0)
    ratio = np.sqrt(np.pi / 2) * erfcx(-far / np.sqrt(2)) * -far
    tail = log_density + np.where(far < -1e3, -2 * np.log(-far), np.log1p(-np.minimum(ratio, 1 - 1e-16)))
    return np.where(z > -1.0, direct, tail)


def log_feasibility(prediction: Prediction) -> Vector:
    """The logarithm of the probability that a constraint's margin is not above zero."""
    return log_ndtr(-prediction.mean / prediction.deviation)


def expected_hypervolume_gain(
    predictions: Sequence[Prediction], *, front: Float[np.ndarray, "n k"], reference: Float[np.ndarray, " k"]
) -> Vector:
    """Expected hypervolume improvement between a front and a reference point, losses being independent.

    Exact: the part of space that no point of the front beats is a union of boxes, and over a box the expectation is a
    product. Of a large front some points stand for all.

    Source: Yang et al. 2019, "Efficient computation of expected hypervolume improvement using box decomposition".
    """
    front = _thinned(front)
    boxes = free_boxes(front)
    total = np.ones((len(boxes), len(predictions[0].mean)))
    for k, prediction in enumerate(predictions):
        edges = np.append(np.unique(front[:, k]), reference[k])
        below = _mass_below(prediction, edges)
        low, high = boxes[:, k, 0], boxes[:, k, 1]
        total *= below[high] - np.where(low[:, None] >= 0, below[np.maximum(low, 0)], 0.0)
    return total.sum(0)


def _mass_below(prediction: Prediction, edges: Float[np.ndarray, " e"]) -> Float[np.ndarray, "e m"]:
    """Compute the expected amount by which a loss lies below each edge."""
    z = (edges[:, None] - prediction.mean) / prediction.deviation
    return prediction.deviation * (z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))


def free_boxes(front: Float[np.ndarray, "n k"]) -> np.ndarray:
    """Disjoint boxes that fill the space which no point of `front` beats, up to a reference point.

    Returns:
        (b, k, 2) lower and upper edge in each metric, as indices into the sorted distinct values of the front's points
        there, with the reference behind them; -1 is unbounded.
    """
    ranks = np.column_stack([np.unique(front[:, k], return_inverse=True)[1] for k in range(front.shape[1])])
    ends = ranks.max(0) + 1
    return np.array(list(_slices(ranks, ends))).reshape(-1, front.shape[1], 2)


def _slices(ranks: np.ndarray, ends: np.ndarray) -> Iterator[list[tuple[int, int]]]:
    """Box by box: slice by slice of the last metric, in which the points behind the slice beat nothing."""
    *_, last = ends
    if len(ends) == 1:
        yield [(-1, int(ranks.min()) if len(ranks) else int(last))]
        return
    edges = [-1, *sorted(set(ranks[:, -1].tolist())), int(last)]
    for low, high in itertools.pairwise(edges):
        inside = ranks[ranks[:, -1] <= low, :-1]
        for box in _slices(inside, ends[:-1]):
            yield [*box, (low, high)]


def _thinned(front: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """So many points that their boxes stay few, evenly along the first metric."""
    most = MOST_ON_FRONT.get(front.shape[1], 8)
    if len(front) <= most:
        return front
    order = np.lexsort(front.T[::-1])
    return front[order[np.linspace(0, len(front) - 1, most).round().astype(int)]]


def non_dominated(losses: Float[np.ndarray, "n k"]) -> np.ndarray:
    """Indices of the rows that no other row beats, in their order."""
    order = np.lexsort(losses.T[::-1])
    kept: list[int] = []
    for i in order:
        front = losses[kept]
        if not len(kept) or not ((front <= losses[i]).all(1)).any():
            kept.append(int(i))
    return np.array(sorted(kept), dtype=int)
