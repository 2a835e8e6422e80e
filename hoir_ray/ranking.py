"""Which trials are best: ranking within constraints, the Pareto front and its knee, and means over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hoir_ray.expression import Condition, parse_condition
from hoir_ray.ledger import TrialRecord
from hoir_ray.spec import MetricSpec, SweepSpec

CONFIDENCE = 0.95


def metrics_of(record: TrialRecord) -> dict[str, float]:
    """The best epoch's metrics, and the number of parameters, which is known without one."""
    extra = {"num_parameters": float(record.num_parameters)} if record.num_parameters is not None else {}
    return {**extra, **(record.best or {})}


def broken_constraint(record: TrialRecord, spec: SweepSpec) -> str | None:
    """The first of the sweep's constraints that the trial's best epoch breaks, or None for a feasible trial."""
    metrics = metrics_of(record)
    return next((text for text in spec.constraints if not parse_condition(text).holds(metrics)), None)


def ranked(records: Iterable[TrialRecord], *, spec: SweepSpec, where: Condition | None = None) -> list[TrialRecord]:
    """Finished, feasible trials, best first; equals in the order they were created.

    Those that were run again with other seeds come first, by the mean of those runs: their own score was picked for
    being high, so it says too much. Those runs themselves are not listed.
    """
    metric = spec.metric
    everything = list(records)
    finished = [
        r
        for r in everything
        if r.state == "FINISHED"
        and r.replicate_of is None
        and r.best is not None
        and metric.name in r.best
        and broken_constraint(r, spec) is None
        and (where is None or where.holds(metrics_of(r)))
    ]
    means = {name: s.mean for name, s in spreads(everything, metric=metric.name).items()}
    sign = -1.0 if metric.goal == "maximize" else 1.0

    def place(record: TrialRecord) -> tuple[bool, float, int]:
        value = means.get(record.trial, metrics_of(record)[metric.name])
        return record.trial not in means, sign * value, record.number

    return sorted(finished, key=place)


def pareto_front(leaders: Sequence[TrialRecord], *, metrics: Sequence[MetricSpec]) -> list[TrialRecord]:
    """Those of `leaders` that no other one beats in one metric without being beaten in another, best first."""
    known = [(losses_of(r, metrics=metrics), r) for r in leaders]
    known = [(losses, r) for losses, r in known if not any(map(math.isnan, losses))]
    front: list[tuple[tuple[float, ...], TrialRecord]] = []
    for losses, record in sorted(known, key=lambda pair: pair[0]):  # none is beaten by one that comes after it
        if not any(beats(other, losses) for other, _ in front):
            front.append((losses, record))
    return [record for _, record in front]


def losses_of(record: TrialRecord, *, metrics: Sequence[MetricSpec]) -> tuple[float, ...]:
    """The best epoch's metrics with signs that make less the better; NaN where one is missing."""
    known = metrics_of(record)
    return tuple((-1.0 if m.goal == "maximize" else 1.0) * known.get(m.name, math.nan) for m in metrics)


def beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Whether losses `a` are nowhere more than `b` and somewhere less."""
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def knee(front: Sequence[TrialRecord], *, metrics: Sequence[MetricSpec]) -> TrialRecord | None:
    """The front's best compromise: nearest to the point that is best in everything, each metric scaled to [0, 1].

    None where there is no compromise to make: with one metric, or fewer than three points.
    """
    if len(metrics) < 2 or len(front) < 3:
        return None
    columns = [[metrics_of(r)[m.name] for r in front] for m in metrics]

    def loss(at: int) -> float:
        total = 0.0
        for metric, column in zip(metrics, columns, strict=True):
            low, high = min(column), max(column)
            ideal = high if metric.goal == "maximize" else low
            total += ((column[at] - ideal) / ((high - low) or 1.0)) ** 2
        return total

    return front[min(range(len(front)), key=loss)]


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
    """Whether the means differ by more than chance would explain (Welch's t-test, two-sided, at 5 %).

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
