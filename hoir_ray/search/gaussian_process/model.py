"""A Gaussian process: what is to be expected of points not tried, and how surely."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import cholesky, solve_triangular

from hoir_ray.search.gaussian_process.kernel import Matrix, Vector, fit_kernel, matern52

LEAST_VARIANCE = 1e-9
BELIEF_NOISE = 1e-4  # variance of a believed value, in standardised units


@dataclass(frozen=True)
class Prediction:
    """Mean and standard deviation at each of some points."""

    mean: Vector
    deviation: Vector


@dataclass(frozen=True, kw_only=True)
class Model:
    """Fitted to measured values, which are standardised inside.

    Attributes:
        inputs: (n, d) encoded points that are known.
        lengths: (d,) over which the value changes.
        noise: Variance that all measurements share.
        shift: Mean of the measured values.
        unit: Their standard deviation.
        root: (n, n) lower Cholesky factor of the known points' covariance.
        solved: (n,) the standardised values, solved by it.
    """

    inputs: Matrix
    lengths: Vector
    noise: float
    shift: float
    unit: float
    root: Float[np.ndarray, "n n"]
    solved: Vector

    def predict(self, points: Matrix) -> Prediction:
        """Of the noiseless value at `points` (m, d)."""
        across = self._across(points)
        deviation = np.sqrt(np.maximum(1.0 - np.einsum("ij,ij->j", across, across), LEAST_VARIANCE))
        return Prediction(self.shift + self.unit * (across.T @ self.solved), self.unit * deviation)

    def believing(self, running: Matrix) -> Model:
        """The model once the value at each of `running` (p, d) turned out to be what is expected there.

        Nothing is learned from them, but that there is less to learn near them.
        """
        if not len(running):
            return self
        own = self._across(running)
        rest = matern52(running, running, lengths=self.lengths) - own.T @ own
        rest[np.diag_indices_from(rest)] += BELIEF_NOISE + self.noise
        known, new = len(self.inputs), len(running)
        root = np.zeros((known + new, known + new))
        root[:known, :known], root[known:, :known] = self.root, own.T
        root[known:, known:] = cholesky(rest, lower=True)
        return dataclasses.replace(
            self, inputs=np.concatenate([self.inputs, running]), root=root, solved=np.append(self.solved, np.zeros(new))
        )

    def _across(self, points: Matrix) -> Float[np.ndarray, "n m"]:
        return solve_triangular(self.root, matern52(self.inputs, points, lengths=self.lengths), lower=True)


def fit_model(inputs: Matrix, values: Vector, *, noise: Vector, fit_on: np.ndarray | None = None) -> Model:
    """The model of `values` (n,) measured at `inputs` (n, d).

    Args:
        noise: (n,) variance of each measurement, beyond that which all share.
        fit_on: Indices of the points from which lengths and noise are estimated; None for all.

    Raises:
        numpy.linalg.LinAlgError, ValueError: If the numbers allow no model.
    """
    shift, unit = float(np.mean(values)), float(np.std(values)) or 1.0
    standard, variances = (values - shift) / unit, noise / unit**2
    few = slice(None) if fit_on is None else fit_on
    lengths, shared = fit_kernel(inputs[few], standard[few], noise=variances[few])
    covariance = matern52(inputs, inputs, lengths=lengths)
    covariance[np.diag_indices_from(covariance)] += variances + shared
    root = cholesky(covariance, lower=True)
    return Model(
        inputs=inputs,
        lengths=lengths,
        noise=shared,
        shift=shift,
        unit=unit,
        root=root,
        solved=solve_triangular(root, standard, lower=True),
    )
