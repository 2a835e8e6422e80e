"""When a trial is stopped early: pure rules over curves, so that resume and simulation replay them exactly."""

from __future__ import annotations

import statistics
from typing import Protocol

from hoir_ray.ledger import better
from hoir_ray.spec import AshaSpec, MedianSpec, NoStopSpec


class StoppingRule(Protocol):
    def decide(self, trial: str, *, epoch: int, value: float) -> str | None:
        """Why the trial should stop now, or None to go on. Every value given is remembered."""


class NeverStop:
    """Every trial runs to its own end."""

    def decide(self, trial: str, *, epoch: int, value: float) -> str | None:
        return None


class Asha:
    """Asynchronous successive halving.

    Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", stopping variant.
    """

    def __init__(self, spec: AshaSpec, *, metric: str, goal: str) -> None:
        self._spec, self._metric, self._goal = spec, metric, goal
        self._rungs: dict[int, dict[str, float]] = {}
        self._reached: dict[str, int] = {}

    def decide(self, trial: str, *, epoch: int, value: float) -> str | None:
        rung = self._rung_at(epoch)
        if rung is None or rung <= self._reached.get(trial, 0):
            return None
        self._reached[trial] = rung
        entries = self._rungs.setdefault(rung, {})
        entries[trial] = value
        ranked = sorted(entries, key=entries.__getitem__, reverse=self._goal == "maximize")
        keep = max(1, len(ranked) // self._spec.eta)
        if len(ranked) < 2 or trial in ranked[:keep]:
            return None
        leader = ranked[0]
        return (
            f"epoch {epoch}: {self._metric} {value:.6g} is not among the best {keep} of {len(ranked)} trials there "
            f"(needed {entries[ranked[keep - 1]]:.6g}; {leader} leads with {entries[leader]:.6g})"
        )

    def _rung_at(self, epoch: int) -> int | None:
        """The highest rung not above `epoch`; validation may skip the rung's own epoch."""
        rung, last = self._spec.min_iter, None
        while rung <= epoch and (self._spec.max_iter is None or rung < self._spec.max_iter):
            last, rung = rung, rung * self._spec.eta
        return last


class MedianStop:
    """Stop when the best value so far is worse than the median of other trials' running means.

    Source: Golovin et al. 2017, "Google Vizier", section 3.2.2.
    """

    def __init__(self, spec: MedianSpec, *, metric: str, goal: str) -> None:
        self._spec, self._metric, self._goal = spec, metric, goal
        self._curves: dict[str, list[tuple[int, float]]] = {}

    def decide(self, trial: str, *, epoch: int, value: float) -> str | None:
        own = self._curves.setdefault(trial, [])
        own.append((epoch, value))
        if epoch < self._spec.min_iter:
            return None
        means = [
            statistics.fmean(v for e, v in curve if e <= epoch)
            for name, curve in self._curves.items()
            if name != trial and curve[-1][0] >= epoch
        ]
        if len(means) < self._spec.min_trials:
            return None
        best = (max if self._goal == "maximize" else min)(v for _, v in own)
        median = statistics.median(means)
        if not better(median, best, goal=self._goal):
            return None
        return (
            f"epoch {epoch}: its best {self._metric} {best:.6g} is behind {median:.6g}, "
            f"the median of {len(means)} other trials"
        )


def build_rule(spec: AshaSpec | MedianSpec | NoStopSpec, *, metric: str, goal: str) -> StoppingRule:
    """The rule that `early_terminate` asks for."""
    if isinstance(spec, AshaSpec):
        return Asha(spec, metric=metric, goal=goal)
    if isinstance(spec, MedianSpec):
        return MedianStop(spec, metric=metric, goal=goal)
    return NeverStop()
