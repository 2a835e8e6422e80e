"""A Gaussian process: what is to be expected of points not tried, and how surely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import cholesky, solve_triangular

from hoir_ray.search.gaussian_process.kernel import Matrix, Vector, fit_kernel, matern52

LEAST_VARIANCE = 1e-9
BELIEF_NOISE = 1e-2  # variance of a believed value, in standardised units


@dataclass(frozen=True)
class Prediction:
    """Mean and standard deviation at each of some points."""

    mean: Vector
    deviation: Vector


class Model:
    """Fitted to measured values, in their own units.

    Args:
        inputs: (n, d) encoded points.
        values: (n,) what was measured there.
        noise: (n,) variance of each measurement, beyond that which all share.
        fit_on: Indices of the points from which lengths and noise are estimated; None for all.

    Raises:
        numpy.linalg.LinAlgError, ValueError: If the numbers allow no model.
    """

    def __init__(self, inputs: Matrix, values: Vector, *, noise: Vector, fit_on: np.ndarray | None = None) -> None:
        self._shift = float(np.mean(values))
        self._unit = float(np.std(values)) or 1.0
        standard, variances = (values - self._shift) / self._unit, noise / self._unit**2
        few = slice(None) if fit_on is None else fit_on
        self.lengths, self.noise = fit_kernel(inputs[few], standard[few], noise=variances[few])
        self._inputs = inputs
        covariance = matern52(inputs, inputs, lengths=self.lengths)
        covariance[np.diag_indices_from(covariance)] += variances + self.noise
        self._root = cholesky(covariance, lower=True)
        self._solved = solve_triangular(self._root, standard, lower=True)

    def predict(self, points: Matrix, *, running: Matrix | None = None) -> Prediction:
        """Of the noiseless value at `points` (m, d).

        Args:
            running: (p, d) points whose values are believed to be the model's mean: nothing is learned from them but
                that there is less to learn near them.
        """
        across = self._across(points)
        mean = across.T @ self._solved
        variance = 1.0 - (across * across).sum(0)
        if running is not None and len(running):
            variance = variance - self._believed(points, across, running)
        deviation = np.sqrt(np.maximum(variance, LEAST_VARIANCE))
        return Prediction(self._shift + self._unit * mean, self._unit * deviation)

    def _across(self, points: Matrix) -> Float[np.ndarray, "n m"]:
        return solve_triangular(self._root, matern52(self._inputs, points, lengths=self.lengths), lower=True)

    def _believed(self, points: Matrix, across: Float[np.ndarray, "n m"], running: Matrix) -> Vector:
        """By how much the running ones lower the variance at the points."""
        own = self._across(running)
        between = matern52(running, running, lengths=self.lengths) - own.T @ own
        between[np.diag_indices_from(between)] += BELIEF_NOISE + self.noise
        with_points = matern52(running, points, lengths=self.lengths) - own.T @ across
        explained = solve_triangular(cholesky(between, lower=True), with_points, lower=True)
        return (explained * explained).sum(0)
