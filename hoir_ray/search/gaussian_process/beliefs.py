"""The models of one moment: every metric and constraint over the trials that ended, with those that run believed."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hoir_ray.search.gaussian_process.acquisition import (
    expected_hypervolume_gain,
    log_expected_improvement,
    log_feasibility,
    non_dominated,
)
from hoir_ray.search.gaussian_process.model import Model, Prediction, fit_model
from hoir_ray.search.gaussian_process.outcomes import Outcomes, Quantity, Trace, outcomes

REFERENCE = 1.1  # of losses scaled to [0, 1] from the best to the worst trial
LEAST_GAIN = 1e-30
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
    """Models of every quantity.

    Args:
        traces: Of ended trials, whose points are `inputs` (n, d).
        fit_on: Indices of the trials from which the models' lengths are estimated.
    """

    def __init__(
        self, traces: Sequence[Trace], inputs: Matrix, *, quantities: Sequence[Quantity], fit_on: np.ndarray
    ) -> None:
        self._num_metrics = sum(q.is_metric for q in quantities)
        self.outcomes = outcomes(traces, inputs, quantities=quantities)
        self._models = [
            None if q.is_known else self._model(o, inputs, fit_on)
            for q, o in zip(quantities, self.outcomes, strict=True)
        ]
        losses = np.column_stack([o.values for o in self.outcomes])
        finished = np.array([t.state == "finished" for t in traces])
        # A margin that was never measured, as of the stored form of a stopped trial, meets nothing.
        feasible = (losses[:, self._num_metrics :] <= 0).all(1)
        self._losses = losses[finished & feasible, : self._num_metrics]
        self._any_feasible = bool(feasible.any())
        self._every = losses[:, : self._num_metrics]

    @staticmethod
    def _model(outcome: Outcomes, inputs: Matrix, fit_on: np.ndarray) -> Model | None:
        """None where there is nothing to learn from yet."""
        known = np.isfinite(outcome.values)
        if known.sum() < 2:
            return None
        few = np.isin(np.flatnonzero(known), fit_on)
        fit_rows = np.flatnonzero(few) if few.sum() >= 2 else None
        return fit_model(inputs[known], outcome.values[known], noise=outcome.variances[known], fit_on=fit_rows)

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

    def worth(self, asked: Asked) -> Float[np.ndarray, " m"]:
        """Compute the log acquisition of each point: improvement times probability of feasibility."""
        constraints = [m.predict(asked.inputs) for m in self._models[self._num_metrics :] if m is not None]
        total = sum((log_feasibility(p) for p in constraints), start=np.zeros(len(asked.inputs)))
        if constraints and not self._any_feasible:
            return total
        metrics = [self._predict(k, asked) for k in range(self._num_metrics)]
        if self._num_metrics > 1:
            return total + self._gain_of_several(metrics)
        known = self._losses[:, 0] if len(self._losses) else self._every[:, 0]
        return total + log_expected_improvement(metrics[0], best=float(known.min()))

    @property
    def has_leader(self) -> bool:
        """True once a trial finished within the constraints."""
        return len(self._losses) > 0

    def may_lead(self, asked: Asked, *, deviations: float) -> np.ndarray:
        """Mark the points (m,) that no finished trial beats, if they turn out so many standard deviations better."""
        found = [self._predict(k, asked) for k in range(self._num_metrics)]
        hopeful = np.column_stack([p.mean - deviations * p.deviation for p in found])
        return np.logical_not(np.any(np.all(self._losses[:, None, :] <= hopeful, axis=2), axis=0))

    def end(self, asked: Asked, place: int) -> tuple[float, float, float]:
        """Return the loss expected of one point by the first metric, its deviation, and the best, all as measured."""
        prediction, warp = self._predict(0, asked), self.outcomes[0].warp
        expected = warp.back(float(prediction.mean[place]), float(prediction.deviation[place]))
        return *expected, warp.back(float(self._losses[:, 0].min()), 0.0)[0]

    def believing(self, running: Matrix) -> Beliefs:
        """The same once the trials at `running` (p, d) turned out as expected."""
        found = copy.copy(self)
        metrics = self._models[: self._num_metrics]
        found._models = [m and m.believing(running) for m in metrics] + self._models[self._num_metrics :]
        return found

    def _predict(self, metric: int, asked: Asked) -> Prediction:
        exact, model = self.outcomes[metric].warp(asked.exact[:, metric]), self._models[metric]
        if np.isfinite(exact).all():
            return Prediction(exact, np.full(len(exact), 1e-12))
        if model is None:
            return Prediction(np.zeros(len(exact)), np.ones(len(exact)))
        return model.predict(asked.inputs)

    def _gain_of_several(self, metrics: Sequence[Prediction]) -> Float[np.ndarray, " m"]:
        """The logarithm of the expected hypervolume gain; where it underflows, nearness to the front."""
        known = self._losses if len(self._losses) else self._every
        front = known[non_dominated(known)]
        # Over all trials: beyond a front of small networks, no larger one would be worth anything.
        low = front.min(0)
        span = np.nanmax(self._every, axis=0) - low
        span = np.where(span > 0, span, 1.0)
        scaled = [Prediction((p.mean - a) / b, p.deviation / b) for p, a, b in zip(metrics, low, span, strict=True)]
        reference = np.full(len(metrics), REFERENCE)
        gain = expected_hypervolume_gain(scaled, front=(front - low) / span, reference=reference)
        missing = np.max([p.mean for p in scaled], axis=0)
        return np.where(gain > LEAST_GAIN, np.log(np.maximum(gain, LEAST_GAIN)), math.log(LEAST_GAIN) - np.abs(missing))
