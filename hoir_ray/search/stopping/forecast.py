"""Stopping by forecast: a trial is stopped once it is all but sure that it will not lead, or break a constraint."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hoir_ray.results.front import beats
from hoir_ray.search.ridge import learned_change
from hoir_ray.search.stopping.rule import Row, loss_of
from hoir_ray.spec.conditions import Condition
from hoir_ray.spec.early_terminate import ForecastSpec
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.spec.stored import early

MIN_FINISHED, MAX_FINISHED = 5, 200  # trials from which a forecast is made
DEVIATIONS = 2.0
LEAST_DEVIATION = 0.1  # of the spread of the finished trials' ends
RECENT = 2 / 3  # the slope is measured from this share of the epochs so far

Losses = tuple[float, ...]


@dataclass
class _Curve:
    """A trial's losses, then its margins, at its best epoch so far by the first metric."""

    epochs: list[int] = field(default_factory=list)
    best: list[Losses] = field(default_factory=list)

    def add(self, epoch: int, losses: Losses) -> None:
        while self.epochs and self.epochs[-1] >= epoch:  # an epoch that is trained again
            self.epochs.pop()
            self.best.pop()
        leading = not self.best or losses[0] < self.best[-1][0]
        self.epochs.append(epoch)
        self.best.append(losses if leading else self.best[-1])

    def at(self, epoch: float) -> Losses | None:
        place = int(np.searchsorted(self.epochs, epoch, side="right"))
        return self.best[place - 1] if place else None


class Forecast:
    """Stops a trial whose expected end plus two standard deviations is behind the best finished trial.

    How much better a trial still becomes is learned, epoch by epoch, from those that finished: by ridge regression on
    where they stood and how fast they improved. Of several metrics, the hopeful end must be beaten by a trial of the
    front. The margin to each constraint's limit is expected in the same way, and a trial that will break one is
    stopped as well.

    Args:
        constraints: On metrics of an epoch or of the stored form, for which those of an epoch stand until its end.
        compares: Whether trials compete by `metrics`; not where the objective is known without training.
    """

    def __init__(
        self,
        spec: ForecastSpec,
        *,
        metrics: Sequence[MetricSpec],
        constraints: Sequence[Condition] = (),
        compares: bool = True,
    ) -> None:
        self._first, self._metrics = spec.min_iter or 1, metrics
        self._constraints, self._compares = constraints, compares
        self._curves: dict[str, _Curve] = {}
        self._finished: dict[str, Losses] = {}

    def decide(self, trial: str, *, epoch: int, value: float, row: Row | None = None) -> str | None:
        given = {**(row or {}), self._metrics[0].name: value}
        curve = self._curves.setdefault(trial, _Curve())
        curve.add(epoch, self._losses(early(given)))
        if epoch < self._first or not all(map(math.isfinite, curve.best[-1])):
            return None
        teachers = self._teachers(epoch)
        if len(teachers) < MIN_FINISHED:
            return None
        ends, deviations = self._expected(curve, epoch, teachers)
        hopeful = tuple(float(v) for v in ends - DEVIATIONS * deviations)
        for condition, margin, likely in zip(self._constraints, hopeful[self._num :], ends[self._num :], strict=True):
            if margin > 0:
                return (
                    f"epoch {epoch}: expected to miss {condition.text} by {likely:.1%}, by {margin:.1%} at least, as "
                    f"{len(teachers)} finished trials went"
                )
        leader = self._unreachable(hopeful[: self._num]) if self._compares else None
        return leader and self._reason(epoch, ends, deviations, leader, num_finished=len(teachers))

    def finished(self, trial: str, *, row: Row | None = None) -> None:
        curve = self._curves.get(trial)
        if curve is None or not curve.best:
            return
        last = curve.best[-1][: self._num]
        if self._constraints:  # the stored form is measured by now
            last += self._losses(row or {})[self._num :]
        if all(map(math.isfinite, last)):
            self._finished[trial] = last

    @property
    def _num(self) -> int:
        return len(self._metrics)

    def _losses(self, row: Row) -> Losses:
        """Losses by the metrics, then margins to the constraints' limits, both the less the better."""
        losses = (loss_of(row.get(m.name, math.nan), m) for m in self._metrics)
        margins = (c.margin(row) for c in self._constraints)
        return (*losses, *(math.inf if math.isnan(m) else m for m in margins))

    def _teachers(self, epoch: int) -> list[str]:
        """Finished trials that were validated by then; always the same ones of many."""
        known = [t for t in self._finished if self._curves[t].epochs[0] <= RECENT * epoch or epoch == 1]
        usable = [t for t in known if all(map(math.isfinite, self._curves[t].at(epoch) or (math.inf,)))]
        if len(usable) <= MAX_FINISHED:
            return usable
        return sorted(usable, key=lambda t: zlib.crc32(t.encode()))[:MAX_FINISHED]

    def _expected(self, curve: _Curve, epoch: int, teachers: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Each metric's end and the standard deviation of that."""
        ends, deviations = [], []
        for k in range(self._num + len(self._constraints)):
            last = np.array([self._finished[t][k] for t in teachers])
            spread = float(last.std()) or float(abs(last).max()) or 1.0
            known = np.array([self._features(self._curves[t], epoch, k) for t in teachers]) / spread
            own = np.array([self._features(curve, epoch, k)]) / spread
            change, deviation = learned_change(known, last / spread - known[:, 0], own)
            gain = min(float(change[0]), 0.0) if k == 0 else float(change[0])
            ends.append(spread * (own[0, 0] + gain))
            deviations.append(spread * max(deviation, LEAST_DEVIATION))
        return np.array(ends), np.array(deviations)

    @staticmethod
    def _features(curve: _Curve, epoch: int, metric: int) -> tuple[float, float]:
        """The loss, and by how much it fell of late."""
        now = curve.at(epoch)
        before = curve.at(RECENT * epoch) or now
        assert now is not None
        assert before is not None
        recent = before[metric] - now[metric]
        return now[metric], recent if math.isfinite(recent) else 0.0

    def _unreachable(self, hopeful: Losses) -> str | None:
        """A finished trial that is better in everything than the best that can be hoped for."""
        feasible = {t: v[: self._num] for t, v in self._finished.items() if all(m <= 0 for m in v[self._num :])}
        ahead = [t for t, losses in feasible.items() if beats(losses, hopeful)]
        return min(ahead, key=lambda t: (self._finished[t], t), default=None)

    def _reason(self, epoch: int, ends: np.ndarray, deviations: np.ndarray, leader: str, *, num_finished: int) -> str:
        signs = [-1.0 if m.goal == "maximize" else 1.0 for m in self._metrics]
        expected = ", ".join(
            f"{m.name} {s * e:.6g} ± {DEVIATIONS * d:.2g}"
            for m, s, e, d in zip(self._metrics, signs, ends[: self._num], deviations[: self._num], strict=True)
        )
        best = ", ".join(f"{s * v:.6g}" for s, v in zip(signs, self._finished[leader][: self._num], strict=True))
        return f"epoch {epoch}: expected to end at {expected}, by {num_finished} finished trials; {leader} has {best}"
