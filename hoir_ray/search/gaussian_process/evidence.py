"""Ended trials by what they tell, so that a model of few of them serves a sweep of thousands."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping

from hoir_ray.results.front import beats
from hoir_ray.search.gaussian_process.outcomes import Trace
from hoir_ray.spec.parameters import Scalar

MODEL_TRIALS, BEST_TRIALS = 160, 50
FIT_TRIALS, BEST_FIT_TRIALS = 100, 30


class KnownTrials:
    """Traces by number. Which of them are chosen depends on the set alone, not on the order in which they came.

    The best are kept, and of the others those whose numbers hash lowest: a new trial seldom changes the choice, so what
    was computed of it can be kept, and a sweep that is resumed chooses the same.
    """

    def __init__(self) -> None:
        self.traces: dict[int, Trace] = {}
        self.points: dict[int, Mapping[str, Scalar]] = {}
        self._by_loss: list[list[tuple[float, int]]] = []
        self._by_hash: list[tuple[int, int]] = []
        self._front: dict[int, tuple[float, ...]] = {}

    def __len__(self) -> int:
        return len(self.traces)

    def add(self, number: int, *, point: Mapping[str, Scalar], trace: Trace, num_metrics: int) -> None:
        self.traces[number], self.points[number] = trace, point
        bisect.insort(self._by_hash, (_hash(number), number))
        if trace.state == "failed":
            return
        losses = tuple(float(v) if math.isfinite(v) else math.inf for v in trace.values[-1][:num_metrics])
        self._by_loss = self._by_loss or [[] for _ in losses]
        for order, loss in zip(self._by_loss, losses, strict=True):
            bisect.insort(order, (loss, number))
        if num_metrics > 1 and trace.state == "finished" and not any(beats(f, losses) for f in self._front.values()):
            self._front = {n: f for n, f in self._front.items() if not beats(losses, f)} | {number: losses}

    def remove(self, number: int) -> None:
        """Take out a trial that is continued, whose trace will come again."""
        trace = self.traces.pop(number)
        del self.points[number]
        self._by_hash.remove((_hash(number), number))
        if trace.state != "failed":
            for order in self._by_loss:
                order[:] = [entry for entry in order if entry[1] != number]

    def best(self, count: int) -> list[int]:
        """The best by each metric, and what stands for the front of several; best first."""
        front = sorted(self._front, key=_hash)[: count // 2]
        each = max(1, (count - len(front)) // max(1, len(self._by_loss)))
        return list(dict.fromkeys([*front, *(n for order in self._by_loss for _, n in order[:each])]))[:count]

    def chosen(self, *, count: int, best: int) -> tuple[int, ...]:
        """Select at most `count` trials, `best` of them for being good, by number."""
        if len(self.traces) <= count:
            return tuple(sorted(self.traces))
        kept = set(self.best(best))
        for _, number in self._by_hash:
            if len(kept) == count:
                break
            kept.add(number)
        return tuple(sorted(kept))


def _hash(number: int) -> int:
    """Spreads successive numbers evenly (Knuth's multiplicative hashing)."""
    return number * 2654435761 % 2**32
