"""Trials of the ledger as Optuna knows trials: what the sampler learns from, and what its dashboard shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from hoir_ray.results.front import leaders, losses_of
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.conditions import parse_condition
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.spec.space import Dimension, Space

STATES = {"FINISHED": TrialState.COMPLETE, "PRUNED": TrialState.PRUNED}


def past_trial(record: TrialRecord, *, spec: SweepSpec, space: Space) -> optuna.trial.FrozenTrial:
    """An ended trial: finished ones with their values, stopped ones with their curve, others as failed.

    Optuna takes no curve where there are several metrics.
    """
    params, drawn_from = as_params(record.parameters, space=space)
    values = final_values(record, spec.metrics)
    state = STATES.get(record.state, TrialState.FAIL)
    if state == TrialState.COMPLETE and values is None:
        state = TrialState.FAIL
    complete = state == TrialState.COMPLETE
    return optuna.trial.create_trial(
        state=state,
        values=values if complete else None,
        params=params,
        distributions=drawn_from,
        constraints=violations(record, spec) if complete else None,
        intermediate_values=intermediate_values(record, spec),
    )


def intermediate_values(record: TrialRecord, spec: SweepSpec) -> dict[int, float]:
    """The curve of the only metric by epoch; Optuna takes none where there are several."""
    name = spec.metric.name
    return {int(r["epoch"]): r[name] for r in record.curve if name in r} if len(spec.metrics) == 1 else {}


def representative_subset(records: Sequence[TrialRecord], *, spec: SweepSpec, count: int) -> list[TrialRecord]:
    """The `count` records that tell a sampler most, by number: a fifth are the best, the others stand for the rest.

    TPE models its 25 best trials and, as what to keep away from, the density of all others; from 250 trials on it takes
    no more of them for good. A question costs it time for each trial that it knows.
    The same records always give the same choice.
    """
    order = _best_first(records, spec=spec)
    best, rest = order[: count // 5], sorted(order[count // 5 :], key=lambda r: r.number)
    few = min(count - len(best), len(rest))
    return sorted([*best, *(rest[i * len(rest) // few] for i in range(few))], key=lambda r: r.number)


def _best_first(records: Sequence[TrialRecord], *, spec: SweepSpec) -> list[TrialRecord]:
    """Sort as TPE does: finished trials, stopped ones that came furthest, those that break constraints."""

    def place(record: TrialRecord) -> tuple[float, ...]:
        known = losses_of(record, metrics=spec.metrics)
        losses = [math.inf if math.isnan(loss) else loss for loss in known]
        if record.state == "PRUNED":
            return (1, -record.epochs, *losses)
        violation = sum(violations(record, spec).values())
        return (2, violation) if violation > 0 else (0, *losses)

    order = sorted(sorted(records, key=lambda r: r.number), key=place)
    if len(spec.metrics) == 1:
        return order
    front = leaders(order, spec=spec)
    return front + [r for r in order if not any(r is f for f in front)]


def violations(record: TrialRecord, spec: SweepSpec) -> dict[str, float]:
    """Measure by how much a finished trial breaks each constraint, so that the sampler learns where they hold."""
    metrics = metrics_of(record)
    return {text: parse_condition(text).violation(metrics) for text in spec.constraints}


def as_params(point: Mapping[str, Scalar], *, space: Space) -> tuple[dict[str, Scalar], dict[str, BaseDistribution]]:
    """A point's values by the names of its cases, and from what each was drawn."""
    dimensions = space.dimensions_of(point)
    return {d.name: point[d.path] for d in dimensions}, {d.name: distribution(d) for d in dimensions}


def distribution(dimension: Dimension) -> BaseDistribution:
    """From which Optuna draws; a log range with a step is drawn from as a continuous one."""
    if dimension.choices is not None:
        return CategoricalDistribution(dimension.choices)
    if dimension.is_int and not (dimension.log and dimension.step > 1):
        step = 1 if dimension.log else int(dimension.step)
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log, step=step)
    return FloatDistribution(
        dimension.low, dimension.high, log=dimension.log, step=None if dimension.log else dimension.step or None
    )


def final_values(record: TrialRecord, metrics: Sequence[MetricSpec]) -> list[float] | None:
    """The metrics at the best epoch by the first one, or None where one is missing or NaN."""
    known = metrics_of(record)
    if record.best is None or any(m.name not in known or known[m.name] != known[m.name] for m in metrics):
        return None
    return [known[m.name] for m in metrics]
