"""When a trial is stopped early: pure rules over curves, so that resume and simulation replay them exactly."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hoir_ray.ranking import beats
from hoir_ray.spec import AshaSpec, MedianSpec, MetricSpec, MoAshaSpec, NoStopSpec

Row = Mapping[str, float]


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


class Asha:
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
        own = (_loss(value, self._metric), len(ranked), trial)
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


class MoAsha:
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
        losses = tuple(_loss(row.get(m.name, math.nan), m) for m in self._metrics)
        # The ends of a front are worth their time even where only one trial of several would go on.
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


def rung_at(epoch: int, *, spec: AshaSpec) -> int | None:
    """The highest rung not above `epoch`; validation may skip the rung's own epoch."""
    rung, last = spec.min_iter, None
    while rung <= epoch and (spec.max_iter is None or rung < spec.max_iter):
        last, rung = rung, rung * spec.eta
    return last


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
        """Whether the point, on front `at`, is among the first `count`; within a front the least crowded lead."""
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


def _loss(value: float, metric: MetricSpec) -> float:
    """Less is better; NaN, as for a metric that is missing, is the worst there is."""
    return math.inf if value != value else -value if metric.goal == "maximize" else value


class MedianStop:
    """Stop when the best value so far is worse than the median of other trials' running means.

    Source: Golovin et al. 2017, "Google Vizier", section 3.2.2.
    """

    def __init__(self, spec: MedianSpec, *, metric: MetricSpec) -> None:
        self._spec, self._metric = spec, metric
        self._own: dict[str, _Running] = {}
        self._means: dict[int, list[float]] = {}  # of every trial that came as far as the epoch, in order

    def decide(self, trial: str, *, epoch: int, value: float, row: Row | None = None) -> str | None:
        own = self._own.setdefault(trial, _Running())
        if epoch <= own.epoch:
            return None
        others = self._means.get(epoch, [])
        count = len(others)
        median = (others[(count - 1) // 2] + others[count // 2]) / 2 if others else math.nan
        for skipped in range(own.epoch + 1, epoch) if own.count else ():  # where validation skips epochs
            bisect.insort(self._means.setdefault(skipped, []), own.mean)
        own.take(_loss(value, self._metric), epoch=epoch)
        bisect.insort(self._means.setdefault(epoch, []), own.mean)
        if epoch < self._spec.min_iter or count < self._spec.min_trials or own.least <= median:
            return None
        sign = -1.0 if self._metric.goal == "maximize" else 1.0
        return (
            f"epoch {epoch}: its best {self._metric.name} {sign * own.least:.6g} is behind {sign * median:.6g}, "
            f"the median of {count} other trials"
        )


@dataclass
class _Running:
    """A trial's losses so far."""

    epoch: int = 0
    count: int = 0
    mean: float = 0.0
    least: float = math.inf

    def take(self, loss: float, *, epoch: int) -> None:
        self.epoch, self.count = epoch, self.count + 1
        self.mean = math.inf if math.inf in (loss, self.mean) else self.mean + (loss - self.mean) / self.count
        self.least = min(self.least, loss)


def build_rule(spec: AshaSpec | MoAshaSpec | MedianSpec | NoStopSpec, *, metrics: Sequence[MetricSpec]) -> StoppingRule:
    """The rule that `early_terminate` asks for; all but `mo_asha` look at the first metric alone."""
    if isinstance(spec, MoAshaSpec):
        return MoAsha(spec, metrics=metrics)
    if isinstance(spec, AshaSpec):
        return Asha(spec, metric=metrics[0])
    if isinstance(spec, MedianSpec):
        return MedianStop(spec, metric=metrics[0])
    return NeverStop()
