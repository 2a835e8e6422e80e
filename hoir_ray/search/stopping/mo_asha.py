"""Asynchronous successive halving by several metrics."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence

from hoir_ray.results.front import beats
from hoir_ray.search.stopping.asha import rung_at
from hoir_ray.search.stopping.rule import CurvesOnly, Row, loss_of
from hoir_ray.spec.early_terminate import AshaSpec
from hoir_ray.spec.metric import MetricSpec


class MoAsha(CurvesOnly):
    """Asynchronous successive halving by several metrics: rungs are ranked by non-domination, then by crowding.

    Source: Schmucker et al. 2021, "Multi-objective Asynchronous Successive Halving"; the ranking is NSGA-II's.
    """

    def __init__(self, spec: AshaSpec, *, metrics: Sequence[MetricSpec]) -> None:
        self._spec, self._metrics = spec, metrics
        self._rungs: dict[int, Fronts] = {}
        self._reached: dict[str, int] = {}

    def decide(self, trial: str, *, epoch: int, value: float, row: Row | None = None) -> str | None:
        rung = rung_at(epoch, spec=self._spec)
        if rung is None or rung <= self._reached.get(trial, 0):
            return None
        self._reached[trial] = rung
        row = row or {}
        fronts = self._rungs.setdefault(rung, Fronts())
        losses = tuple(loss_of(row.get(m.name, math.nan), m) for m in self._metrics)
        # The ends of a front are worth their time even where only one trial of several would continue.
        is_best_in_one = any(loss < least for loss, least in zip(losses, fronts.least or losses, strict=True))
        place = fronts.add(trial, losses)
        keep = max(1, len(fronts) // self._spec.eta)
        if len(fronts) < 2 or is_best_in_one or fronts.is_among(trial, place, keep):
            return None
        shown = ", ".join(f"{m.name} {row.get(m.name, math.nan):.6g}" for m in self._metrics)
        return (
            f"epoch {epoch}: {shown} is on front {place + 1} of {len(fronts.members)}, "
            f"not among the best {keep} of {len(fronts)} trials there"
        )


class Fronts:
    """Points in fronts, each front without those that one of the fronts before beats; kept as points come.

    Source: Li et al. 2017, "Efficient Nondomination Level Update Method for Steady-State Evolutionary Multiobjective
    Optimization".

    Attributes:
        members: Front by front, name -> losses, less being better.
        least: Of each metric.
    """

    def __init__(self) -> None:
        self.members: list[dict[str, tuple[float, ...]]] = []
        self.least: tuple[float, ...] = ()
        self._came: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._came)

    def add(self, name: str, losses: tuple[float, ...]) -> int:
        """Take a point in and return its front; those that it beats there move one front back, and so on."""
        self._came[name] = len(self._came)
        self.least = tuple(map(min, self.least or losses, losses))
        first = at = bisect.bisect_left(self.members, True, key=lambda front: not _is_beaten(losses, front.values()))
        moving = {name: losses}
        while moving and at < len(self.members):
            front, comers = self.members[at], moving
            moving = {n: old for n, old in front.items() if _is_beaten(old, comers.values())}
            self.members[at] = {n: old for n, old in front.items() if n not in moving} | comers
            at += 1
        if moving:
            self.members.append(moving)
        return first

    def is_among(self, name: str, at: int, count: int) -> bool:
        """Return whether the point, on front `at`, is among the first `count`; in a front the least crowded lead."""
        before = sum(map(len, self.members[:at]))
        front = self.members[at]
        if before + len(front) <= count or before >= count:
            return before < count
        names = sorted(front, key=self._came.__getitem__)
        crowding = _crowding([front[n] for n in names])
        order = sorted(range(len(names)), key=lambda i: -crowding[i])
        return name in [names[i] for i in order[: count - before]]


def _is_beaten(losses: tuple[float, ...], others: Iterable[tuple[float, ...]]) -> bool:
    return any(beats(other, losses) for other in others)


def _crowding(front: Sequence[tuple[float, ...]]) -> list[float]:
    """Distance between each one's neighbours, every metric scaled to the front's span; infinite at the ends."""
    crowding = [0.0] * len(front)
    for metric in range(len(front[0])):
        order = sorted(range(len(front)), key=lambda i: front[i][metric])
        values = [front[i][metric] for i in order]
        span = values[-1] - values[0]
        crowding[order[0]] = crowding[order[-1]] = math.inf
        for at in range(1, len(order) - 1):
            if 0 < span < math.inf:
                crowding[order[at]] += (values[at + 1] - values[at - 1]) / span
    return crowding
