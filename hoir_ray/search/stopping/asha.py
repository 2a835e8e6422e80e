"""Asynchronous successive halving by one metric."""

from __future__ import annotations

import bisect

from hoir_ray.search.stopping.rule import CurvesOnly, Row, loss_of
from hoir_ray.spec.early_terminate import AshaSpec
from hoir_ray.spec.metric import MetricSpec


class Asha(CurvesOnly):
    """Asynchronous successive halving.

    Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", stopping variant.
    """

    def __init__(self, spec: AshaSpec, *, metric: MetricSpec) -> None:
        self._spec, self._metric = spec, metric
        self._rungs: dict[int, list[tuple[float, int, str]]] = {}  # loss, place in time, trial; the best first
        self._reached: dict[str, int] = {}

    def decide(self, trial: str, *, epoch: int, value: float, row: Row | None = None) -> str | None:
        rung = rung_at(epoch, spec=self._spec)
        if rung is None or rung <= self._reached.get(trial, 0):
            return None
        self._reached[trial] = rung
        ranked = self._rungs.setdefault(rung, [])
        own = (loss_of(value, self._metric), len(ranked), trial)
        place = bisect.bisect(ranked, own)
        ranked.insert(place, own)
        keep = max(1, len(ranked) // self._spec.eta)
        if place < keep:
            return None
        (best, _, leader), (needed, _, _) = ranked[0], ranked[keep - 1]
        sign = -1.0 if self._metric.goal == "maximize" else 1.0
        return (
            f"epoch {epoch}: {self._metric.name} {value:.6g} is not among the best {keep} of {len(ranked)} trials "
            f"there (needed {sign * needed:.6g}; {leader} leads with {sign * best:.6g})"
        )


def rung_at(epoch: int, *, spec: AshaSpec) -> int | None:
    """The highest rung not above `epoch`; validation may skip the rung's own epoch."""
    rung, last = spec.min_iter or 1, None
    while rung <= epoch and (spec.max_iter is None or rung < spec.max_iter):
        last, rung = rung, rung * spec.eta
    return last
