"""When a trial is stopped early: pure rules over curves, so that resume and simulation replay them exactly."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from hoir_ray.ledger import better
from hoir_ray.ranking import dominates
from hoir_ray.spec import AshaSpec, MedianSpec, MetricSpec, MoAshaSpec, NoStopSpec

Row = Mapping[str, float]
Entry = TypeVar("Entry")


class StoppingRule(Protocol):
    def decide(self, trial: str, *, epoch: int, value: float, row: Row | None = None) -> str | None:
        """Why the trial should stop now, or None to go on. Every value given is remembered.

        Args:
            value: Of the first metric.
            row: All metrics of the epoch, for a rule that looks at several.
        """


class NeverStop:
    """Every trial runs to its own end."""

    def decide(self, trial: str, *, epoch: int, value: float, row: Row | None = None) -> str | None:
        return None


class Rungs(Generic[Entry]):
    """What each trial had when it came to a rung; it enters each rung once, at its first report from there on."""

    def __init__(self, spec: AshaSpec) -> None:
        self._spec = spec
        self._entries: dict[int, dict[str, Entry]] = {}
        self._reached: dict[str, int] = {}

    def enter(self, trial: str, *, epoch: int, entry: Entry) -> dict[str, Entry]:
        """Every entry of the rung that the trial has come to, its own among them; empty where it came to none."""
        rung = rung_at(epoch, spec=self._spec)
        if rung is None or rung <= self._reached.get(trial, 0):
            return {}
        self._reached[trial] = rung
        entries = self._entries.setdefault(rung, {})
        entries[trial] = entry
        return entries


class Asha:
    """Asynchronous successive halving.

    Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", stopping variant.
    """

    def __init__(self, spec: AshaSpec, *, metric: str, goal: str) -> None:
        self._metric, self._goal, self._eta = metric, goal, spec.eta
        self._rungs = Rungs[float](spec)

    def decide(self, trial: str, *, epoch: int, value: float, row: Row | None = None) -> str | None:
        entries = self._rungs.enter(trial, epoch=epoch, entry=value)
        ranked = sorted(entries, key=entries.__getitem__, reverse=self._goal == "maximize")
        keep = max(1, len(ranked) // self._eta)
        if len(ranked) < 2 or trial in ranked[:keep]:
            return None
        leader = ranked[0]
        return (
            f"epoch {epoch}: {self._metric} {value:.6g} is not among the best {keep} of {len(ranked)} trials there "
            f"(needed {entries[ranked[keep - 1]]:.6g}; {leader} leads with {entries[leader]:.6g})"
        )


class MoAsha:
    """Asynchronous successive halving by several metrics: rungs are ranked by non-domination, then by crowding.

    Source: Schmucker et al. 2021, "Multi-objective Asynchronous Successive Halving"; the ranking is NSGA-II's.
    """

    def __init__(self, spec: AshaSpec, *, metrics: Sequence[MetricSpec]) -> None:
        self._metrics, self._eta = metrics, spec.eta
        self._rungs = Rungs[dict[str, float]](spec)

    def decide(self, trial: str, *, epoch: int, value: float, row: Row | None = None) -> str | None:
        own = {m.name: _known(m, row or {}) for m in self._metrics}
        entries = self._rungs.enter(trial, epoch=epoch, entry=own)
        if len(entries) < 2:
            return None
        fronts = non_dominated_fronts(entries, metrics=self._metrics)
        keep = max(1, len(entries) // self._eta)
        going_on = [name for front in fronts for name in front][:keep]
        if trial in going_on or self._is_best_in_one(trial, entries):
            return None
        place = next(i for i, front in enumerate(fronts, start=1) if trial in front)
        shown = ", ".join(f"{m.name} {own[m.name]:.6g}" for m in self._metrics)
        return (
            f"epoch {epoch}: {shown} is on front {place} of {len(fronts)}, "
            f"not among the best {keep} of {len(entries)} trials there"
        )

    def _is_best_in_one(self, trial: str, entries: Mapping[str, Row]) -> bool:
        """The ends of a front are worth their time even where only one trial of several would go on."""
        own = entries[trial]
        return any(
            all(better(own[m.name], other[m.name], goal=m.goal) for name, other in entries.items() if name != trial)
            for m in self._metrics
        )


def rung_at(epoch: int, *, spec: AshaSpec) -> int | None:
    """The highest rung not above `epoch`; validation may skip the rung's own epoch."""
    rung, last = spec.min_iter, None
    while rung <= epoch and (spec.max_iter is None or rung < spec.max_iter):
        last, rung = rung, rung * spec.eta
    return last


def non_dominated_fronts(entries: Mapping[str, Row], *, metrics: Sequence[MetricSpec]) -> list[list[str]]:
    """Names front by front, each without those of the fronts before it; within one, the least crowded first."""
    left, fronts = list(entries), []
    while left:
        front = [name for name in left if not any(dominates(entries[o], entries[name], metrics=metrics) for o in left)]
        crowding = _crowding(front, entries, metrics=metrics)
        fronts.append(sorted(front, key=lambda name: -crowding[name]))
        left = [name for name in left if name not in crowding]
    return fronts


def _crowding(front: Sequence[str], entries: Mapping[str, Row], *, metrics: Sequence[MetricSpec]) -> dict[str, float]:
    """Distance between each one's neighbours, every metric scaled to the front's span; infinite at the ends."""
    crowding = dict.fromkeys(front, 0.0)
    for metric in metrics:
        order = sorted(front, key=lambda name: entries[name][metric.name])
        values = [entries[name][metric.name] for name in order]
        span = values[-1] - values[0]
        crowding[order[0]] = crowding[order[-1]] = math.inf
        for at in range(1, len(order) - 1):
            if 0 < span < math.inf:
                crowding[order[at]] += (values[at + 1] - values[at - 1]) / span
    return crowding


def _known(metric: MetricSpec, row: Row) -> float:
    """The metric, or the worst there is where it is missing or NaN."""
    value = row.get(metric.name, math.nan)
    return value if value == value else (-math.inf if metric.goal == "maximize" else math.inf)


class MedianStop:
    """Stop when the best value so far is worse than the median of other trials' running means.

    Source: Golovin et al. 2017, "Google Vizier", section 3.2.2.
    """

    def __init__(self, spec: MedianSpec, *, metric: str, goal: str) -> None:
        self._spec, self._metric, self._goal = spec, metric, goal
        self._curves: dict[str, list[tuple[int, float]]] = {}

    def decide(self, trial: str, *, epoch: int, value: float, row: Row | None = None) -> str | None:
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


def build_rule(spec: AshaSpec | MoAshaSpec | MedianSpec | NoStopSpec, *, metrics: Sequence[MetricSpec]) -> StoppingRule:
    """The rule that `early_terminate` asks for; all but `mo_asha` look at the first metric alone."""
    metric, goal = metrics[0].name, metrics[0].goal
    if isinstance(spec, MoAshaSpec):
        return MoAsha(spec, metrics=metrics)
    if isinstance(spec, AshaSpec):
        return Asha(spec, metric=metric, goal=goal)
    if isinstance(spec, MedianSpec):
        return MedianStop(spec, metric=metric, goal=goal)
    return NeverStop()
