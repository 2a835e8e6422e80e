"""What a point is worth trying for, given what the models expect of it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import erfcx, log_ndtr

from hoir_ray.search.gaussian_process.model import Prediction

Vector = Float[np.ndarray, " m"]
TCHEBYCHEFF_SUM = 0.05


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


def scalarised(losses: Float[np.ndarray, "... k"], *, weights: Float[np.ndarray, " k"]) -> Float[np.ndarray, "..."]:
    """The augmented Tchebycheff norm of losses scaled to [0, 1] over the front; any point of a front is best by some.

    Source: Knowles 2006, "ParEGO".
    """
    weighted = losses * weights
    return weighted.max(-1) + TCHEBYCHEFF_SUM * weighted.sum(-1)


def non_dominated(losses: Float[np.ndarray, "n k"]) -> np.ndarray:
    """Indices of the rows that no other row beats, in their order."""
    order = np.lexsort(losses.T[::-1])
    kept: list[int] = []
    for i in order:
        front = losses[kept]
        if not len(kept) or not ((front <= losses[i]).all(1)).any():
            kept.append(int(i))
    return np.array(sorted(kept), dtype=int)
