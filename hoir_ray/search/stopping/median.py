"""The median stopping rule."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

from hoir_ray.search.stopping.rule import CurvesOnly, Row, loss_of
from hoir_ray.spec.early_terminate import MedianSpec
from hoir_ray.spec.metric import MetricSpec


class MedianStop(CurvesOnly):
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
        if own.count:
            for skipped in range(own.epoch + 1, epoch):  # where validation skips epochs
                bisect.insort(self._means.setdefault(skipped, []), own.mean)
        own.take(loss_of(value, self._metric), epoch=epoch)
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
