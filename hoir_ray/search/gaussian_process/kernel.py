"""Matern 5/2 with a length for each column, and how well it explains what was measured."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

ROOT5 = math.sqrt(5.0)
# Priors of the logarithms. A length grows with the root of the columns, or distances alone would make all points
# strangers in a wide space (Hvarfner et al. 2024, "Vanilla Bayesian Optimization Performs Great in High Dimensions").
LENGTH_PRIOR, LENGTH_SPREAD = 0.5, 0.7
NOISE_PRIOR, NOISE_SPREAD = 1e-3, 1.5
LOWEST_NOISE = 1e-6
MAX_ITERATIONS = 15

Matrix = Float[np.ndarray, "n d"]
Vector = Float[np.ndarray, " n"]


def matern52(a: Matrix, b: Matrix, *, lengths: Vector) -> Float[np.ndarray, "n m"]:
    """Covariance of points `a` (n, d) with points `b` (m, d), 1 for equal ones.

    Source: Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", equation 4.17.
    """
    x, y = a / lengths, b / lengths
    scaled = x @ y.T
    scaled *= -2.0
    scaled += (x * x).sum(1)[:, None]
    scaled += (y * y).sum(1)
    np.sqrt(np.maximum(scaled, 0.0, out=scaled), out=scaled)
    scaled *= ROOT5
    decay = np.exp(-scaled)
    decay *= 1 + scaled * (1 + scaled / 3)
    return decay


class Evidence:
    """The negative log posterior of lengths and noise given measured values, with its gradient."""

    def __init__(self, inputs: Matrix, values: Vector, *, noise: Vector) -> None:
        self._values, self._noise = values, noise
        self._squares = (inputs.T[:, :, None] - inputs.T[:, None, :]) ** 2  # (d, n, n)
        count = inputs.shape[1]
        self._means = np.append(np.full(count, math.log(LENGTH_PRIOR * math.sqrt(count))), math.log(NOISE_PRIOR))
        self._spreads = np.append(np.full(count, LENGTH_SPREAD), NOISE_SPREAD)

    @property
    def start(self) -> Vector:
        return self._means

    def __call__(self, logs: Vector) -> tuple[float, Vector]:
        """Evaluate at the logarithms of each length and of the noise."""
        inverse = np.exp(-2 * logs[:-1])
        scaled = ROOT5 * np.sqrt(np.tensordot(inverse, self._squares, 1))
        decay = np.exp(-scaled)
        covariance = (1 + scaled + scaled * scaled / 3) * decay
        noise = math.exp(logs[-1])
        covariance[np.diag_indices_from(covariance)] += self._noise + noise + LOWEST_NOISE
        factor = cho_factor(covariance, lower=True)
        weights = cho_solve(factor, self._values)
        distance = (logs - self._means) / self._spreads
        loss = 0.5 * self._values @ weights + np.log(np.diag(factor[0])).sum() + 0.5 * distance @ distance
        pull = np.outer(weights, weights) - cho_solve(factor, np.eye(len(weights)))
        slope = pull * (5 / 3) * (1 + scaled) * decay
        lengths = -0.5 * inverse * np.tensordot(self._squares, slope, 2)
        gradient = np.append(lengths, -0.5 * noise * np.trace(pull)) + distance / self._spreads
        return float(loss), gradient


def fit_kernel(inputs: Matrix, values: Vector, *, noise: Vector) -> tuple[Vector, float]:
    """The lengths (d,) and the noise variance that explain standardised `values` best, within their priors.

    Raises:
        numpy.linalg.LinAlgError, ValueError: If the numbers allow no answer.
    """
    evidence = Evidence(inputs, values, noise=noise)
    bounds = [(m - 4, m + 4) for m in evidence.start]
    options = {"maxiter": MAX_ITERATIONS}
    found = minimize(evidence, evidence.start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    if not np.isfinite(found.fun):
        raise ValueError("no lengths explain the measured values")
    return np.exp(found.x[:-1]), float(math.exp(found.x[-1])) + LOWEST_NOISE
