"""Ends of a sweep before its budget: a trial that is good enough, and a target that is hardly bettered any more."""

from __future__ import annotations

from hoir_ray import wording
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.ranking import broken_constraint
from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.conditions import parse_condition
from hoir_ray.spec.schema import SweepSpec


class Goal:
    """Looks at each trial that ends, in that order, so that a resumed sweep ends where the first one did."""

    def __init__(self, spec: SweepSpec) -> None:
        self._spec = spec
        self._enough = parse_condition(spec.budget.stop_at) if spec.budget.stop_at is not None else None
        self._best: float | None = None  # the result from which the margin is measured
        self._num_since = 0  # trials of the search since it was bettered by the margin

    def reached(self, record: TrialRecord) -> str | None:
        """Return why the sweep has what it is for, now that this trial has ended, or None."""
        if record.state == "FINISHED" and broken_constraint(record, self._spec) is None:
            metrics = metrics_of(record)
            if self._enough is not None and self._enough.holds(metrics):
                shown = ", ".join(f"{n} {wording.number(metrics[n])}" for n in sorted(self._enough.names))
                return f"budget.stop_at {self._enough.text} is met: {record.trial} has {shown}"
        return self._is_settled(record)

    def _is_settled(self, record: TrialRecord) -> str | None:
        target, metric = self._spec.target, self._spec.metric
        if target is None or target.margin is None or not record.is_evidence:
            return None
        feasible = record.state == "FINISHED" and broken_constraint(record, self._spec) is None
        value = metrics_of(record).get(metric.name) if feasible else None
        if value is not None and (self._best is None or _gain(value, self._best, metric.goal) >= target.margin):
            self._best, self._num_since = value, 0
            return None
        self._num_since += self._best is not None
        if self._best is None or self._num_since < target.patience:
            return None
        return (
            f"target.margin is reached: the last {target.patience} trials bettered {metric.name} by less than "
            f"{target.margin:.3g} of it"
        )


def _gain(value: float, before: float, goal: str) -> float:
    """By what share of `before` a value is better."""
    return ((value - before) if goal == "maximize" else (before - value)) / (abs(before) or 1.0)
