"""The leaderboard: finished trials within the constraints, best first."""

from __future__ import annotations

from collections.abc import Iterable

from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.seeds import spreads
from hoir_ray.spec.conditions import Condition, parse_condition
from hoir_ray.spec.schema import SweepSpec


def broken_constraint(record: TrialRecord, spec: SweepSpec) -> str | None:
    """The first of the sweep's constraints that the trial's best epoch breaks, or None for a feasible trial."""
    metrics = metrics_of(record)
    return next((text for text in spec.constraints if not parse_condition(text).holds(metrics)), None)


def nearest_miss(records: Iterable[TrialRecord], *, spec: SweepSpec) -> TrialRecord | None:
    """The finished trial that breaks the sweep's constraints by the least, for when none meets them."""
    finished = [r for r in records if r.state == "FINISHED" and not r.is_replicate and r.best is not None]
    conditions = [parse_condition(text) for text in spec.constraints]

    def distance(record: TrialRecord) -> tuple[float, int]:
        return sum(c.violation(metrics_of(record)) for c in conditions), record.number

    return min(finished, key=distance, default=None)


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
        and not r.is_replicate
        and r.best is not None
        and metric.name in r.best
        and broken_constraint(r, spec) is None
        and (where is None or where.holds(metrics_of(r)))
    ]
    means = {name: s.mean for name, s in spreads(everything, metric=metric.name).items()}

    def place(record: TrialRecord) -> tuple[bool, float, int]:
        value = means.get(record.trial, metrics_of(record)[metric.name])
        return record.trial not in means, metric.loss(value), record.number

    return sorted(finished, key=place)
