"""Means over seeds, and whether two settings can be told apart by them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.record import TrialRecord

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric over runs of one setting that differ only by their seed."""

    mean: float
    deviation: float
    num_seeds: int


def spreads(records: Iterable[TrialRecord], *, metric: str) -> dict[str, Spread]:
    """Trial -> mean and standard deviation over its runs with other seeds; its own, selected score is left out."""
    values: dict[str, list[float]] = {}
    for record in records:
        if record.replicate_of is not None and record.state == "FINISHED" and metric in (record.best or {}):
            values.setdefault(record.replicate_of, []).append(metrics_of(record)[metric])
    return {
        name: Spread(
            mean=statistics.fmean(v), deviation=statistics.stdev(v) if len(v) > 1 else math.nan, num_seeds=len(v)
        )
        for name, v in values.items()
    }


def tell_apart(a: Spread, b: Spread) -> bool | None:
    """Test whether the means differ by more than chance would explain (Welch's t-test, two-sided, at 5 %).

    None when one seed or none says nothing about the spread.
    """
    if min(a.num_seeds, b.num_seeds) < 2:
        return None
    errors = [s.deviation**2 / s.num_seeds for s in (a, b)]
    if sum(errors) == 0:
        return a.mean != b.mean
    from scipy.special import stdtrit  # here because most commands compare no seeds

    freedom = sum(errors) ** 2 / sum(e**2 / (s.num_seeds - 1) for e, s in zip(errors, (a, b), strict=True))
    return bool(abs(a.mean - b.mean) > stdtrit(freedom, (1 + CONFIDENCE) / 2) * math.sqrt(sum(errors)))


def ties(leaders: Sequence[TrialRecord], records: Iterable[TrialRecord], *, metric: str) -> list[str]:
    """Trials that cannot be told apart from the first of `leaders` by their seeds, in order."""
    known = spreads(records, metric=metric)
    if not leaders or leaders[0].trial not in known:
        return []
    first = known[leaders[0].trial]
    return [r.trial for r in leaders[1:] if r.trial in known and tell_apart(first, known[r.trial]) is False]
