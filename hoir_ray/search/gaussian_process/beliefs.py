"""The models of one moment: every metric and constraint over the trials that ended, with those that run believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hoir_ray.search.gaussian_process.acquisition import (
    log_expected_improvement,
    log_feasibility,
    non_dominated,
    scalarised,
)
from hoir_ray.search.gaussian_process.model import Model, Prediction
from hoir_ray.search.gaussian_process.outcomes import Outcomes, Quantity, Trace, outcomes

NUM_SAMPLES = 64
Matrix = Float[np.ndarray, "n d"]


@dataclass(frozen=True)
class Asked:
    """Points to be compared.

    Attributes:
        inputs: (m, d) encoded.
        exact: (m, k) losses that are known without training, NaN where they are not.
    """

    inputs: Matrix
    exact: Float[np.ndarray, "m k"]


class Beliefs:
    """What is believed of every quantity.

    Args:
        traces: Of ended trials, whose points are `inputs` (n, d).
        fit_on: Indices of the trials from which the models' lengths are estimated.
    """

    def __init__(
        self, traces: Sequence[Trace], inputs: Matrix, *, quantities: Sequence[Quantity], fit_on: np.ndarray
    ) -> None:
        self._num_metrics = sum(q.is_metric for q in quantities)
        self.outcomes = outcomes(traces, inputs, quantities=quantities)
        self._models = [self._model(o, inputs, fit_on) for o in self.outcomes]
        losses = np.column_stack([o.values for o in self.outcomes])
        finished = np.array([t.state == "finished" for t in traces])
        feasible = ~(losses[:, self._num_metrics :] > 0).any(1)
        self._losses = losses[finished & feasible, : self._num_metrics]
        self._any_feasible = bool(feasible.any())
        self._every = losses[:, : self._num_metrics]

    @staticmethod
    def _model(outcome: Outcomes, inputs: Matrix, fit_on: np.ndarray) -> Model | None:
        """None where there is nothing to learn from yet, or everything was the same."""
        known = np.isfinite(outcome.values)
        if known.sum() < 2:
            return None
        few = np.isin(np.flatnonzero(known), fit_on)
        fit_rows = np.flatnonzero(few) if few.sum() >= 2 else None
        return Model(inputs[known], outcome.values[known], noise=outcome.variances[known], fit_on=fit_rows)

    def leading(self, count: int) -> np.ndarray:
        """Indices of the trials around which to look on: the best, or some of the front."""
        if self._num_metrics == 1:
            return np.argsort(self._penalised(), kind="stable")[:count]
        usable = np.flatnonzero(np.isfinite(self._every).all(1))
        return usable[non_dominated(self._every[usable])] if len(usable) else usable

    def _penalised(self) -> Float[np.ndarray, " n"]:
        margins = np.column_stack([np.zeros(len(self._every)), *(o.values for o in self.outcomes[self._num_metrics :])])
        broken = np.nan_to_num(np.maximum(margins, 0.0)).sum(1)
        return self._every[:, 0] + np.where(broken > 0, np.ptp(self._every[:, 0]) * (1 + broken), 0.0)

    def worth(self, asked: Asked, *, running: Matrix, generator: np.random.Generator) -> Float[np.ndarray, " m"]:
        """What each point is worth trying for, on a logarithmic scale: improvement times probability of feasibility."""
        constraints = [m.predict(asked.inputs) for m in self._models[self._num_metrics :] if m is not None]
        total = np.sum([log_feasibility(p) for p in constraints], axis=0) if constraints else 0.0
        if constraints and not self._any_feasible:
            return total
        metrics = [self._predict(k, asked, running=running) for k in range(self._num_metrics)]
        if self._num_metrics > 1:
            return total + self._gain_of_several(metrics, generator)
        known = self._losses[:, 0] if len(self._losses) else self._every[:, 0]
        return total + log_expected_improvement(metrics[0], best=float(known.min()))

    def _predict(self, metric: int, asked: Asked, *, running: Matrix) -> Prediction:
        exact = asked.exact[:, metric]
        if np.isfinite(exact).all():
            return Prediction(exact, np.full(len(exact), 1e-12))
        model = self._models[metric]
        if model is None:
            return Prediction(np.zeros(len(exact)), np.ones(len(exact)))
        return model.predict(asked.inputs, running=running)

    def _gain_of_several(self, metrics: Sequence[Prediction], generator: np.random.Generator) -> Float[np.ndarray, " m"]:
        """Expected improvement of a random scalarisation, by samples that all points share."""
        known = self._losses if len(self._losses) else self._every
        front = known[non_dominated(known)]
        low, span = front.min(0), np.ptp(front, axis=0)
        span = np.where(span > 0, span, 1.0)
        weights = generator.dirichlet(np.ones(self._num_metrics))
        best = scalarised((front - low) / span, weights=weights).min()
        normal = generator.standard_normal((NUM_SAMPLES, 1, self._num_metrics))
        mean = np.column_stack([p.mean for p in metrics])
        deviation = np.column_stack([p.deviation for p in metrics])
        samples = scalarised((mean + normal * deviation - low) / span, weights=weights)
        gain = np.maximum(best - samples, 0.0).mean(0)
        expected = scalarised((mean - low) / span, weights=weights)
        return np.where(gain > 0, np.log(np.maximum(gain, 1e-300)), -700.0 - expected)
