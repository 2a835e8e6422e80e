"""The Pareto front of several metrics, its knee, and the leaders kept up to date as trials end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.ranking import broken_constraint, ranked
from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.spec.schema import SweepSpec

_STORED = (MetricSpec(name="stored_psnr_db", goal="maximize"), MetricSpec(name="stored_bytes"))
SIZE = MetricSpec(name="num_parameters", goal="minimize")


def axes_of(spec: SweepSpec) -> tuple[MetricSpec, ...]:
    """The metrics of a front that is shown; a sweep with one metric is shown against the size of the network."""
    return spec.metrics if len(spec.metrics) > 1 else (*spec.metrics, SIZE)


def pareto_front(leaders: Sequence[TrialRecord], *, metrics: Sequence[MetricSpec]) -> list[TrialRecord]:
    """Select the trials of `leaders` that no other one dominates, best first."""
    known = [(losses_of(r, metrics=metrics), r) for r in leaders]
    known = [(losses, r) for losses, r in known if not any(map(math.isnan, losses))]
    front: list[tuple[tuple[float, ...], TrialRecord]] = []
    for losses, record in sorted(known, key=lambda pair: pair[0]):  # none is beaten by one that comes after it
        if not any(beats(other, losses) for other, _ in front):
            front.append((losses, record))
    return [record for _, record in front]


def stored_front(leaders: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials of `leaders` whose stored form no other one beats in decibels and in bytes, from small to large."""
    return pareto_front(leaders, metrics=_STORED)[::-1]


def losses_of(record: TrialRecord, *, metrics: Sequence[MetricSpec]) -> tuple[float, ...]:
    """The best epoch's metrics with signs that make less the better; NaN where one is missing."""
    known = metrics_of(record)
    return tuple(m.loss(known.get(m.name, math.nan)) for m in metrics)


def beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Return whether losses `a` dominate `b`: nowhere more and somewhere less."""
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
            ideal, span = min(column, key=metric.loss), max(column) - min(column)
            total += ((column[at] - ideal) / (span or 1.0)) ** 2
        return total

    return front[min(range(len(front)), key=loss)]


def leaders(records: Iterable[TrialRecord], *, spec: SweepSpec) -> list[TrialRecord]:
    """The best one by the only metric, or the front of several, best first; of finished, feasible trials."""
    best = ranked(records, spec=spec)
    return pareto_front(best, metrics=spec.metrics) if len(spec.metrics) > 1 else best[:1]


def joined(front: list[TrialRecord], record: TrialRecord, *, spec: SweepSpec) -> list[TrialRecord]:
    """Return the leaders once `record`, which has ended, is one of the records.

    Only for trials of the search: those that are run again with other seeds change the order of others.
    """
    losses = losses_of(record, metrics=spec.metrics)
    known = [losses_of(r, metrics=spec.metrics) for r in front]
    out = record.state != "FINISHED" or broken_constraint(record, spec) is not None or any(map(math.isnan, losses))
    if out or any(beats(other, losses) for other in known):
        return front
    left = [r for r, other in zip(front, known, strict=True) if not beats(losses, other)]
    return leaders([*left, record], spec=spec)
