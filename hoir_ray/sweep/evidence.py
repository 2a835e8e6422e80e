"""Trials of the ledger as Optuna knows trials: what the sampler learns from, and what its dashboard shows."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from hoir_ray.expression import parse_condition
from hoir_ray.ledger import TrialRecord
from hoir_ray.ranking import metrics_of
from hoir_ray.spec import MetricSpec, SweepSpec
from hoir_ray.sweep.space import Dimension, Space

STATES = {"FINISHED": TrialState.COMPLETE, "PRUNED": TrialState.PRUNED}


def past_trial(record: TrialRecord, *, spec: SweepSpec, space: Space) -> optuna.trial.FrozenTrial:
    """An ended trial: finished ones with their values, stopped ones with their curve, others as failed.

    Optuna takes no curve where there are several metrics.
    """
    dimensions = space.dimensions_of(record.parameters)
    values, metric = final_values(record, spec.metrics), spec.metric.name
    state = STATES.get(record.state, TrialState.FAIL)
    if state == TrialState.COMPLETE and values is None:
        state = TrialState.FAIL
    complete, one_metric = state == TrialState.COMPLETE, len(spec.metrics) == 1
    return optuna.trial.create_trial(
        state=state,
        values=values if complete else None,
        params={d.name: record.parameters[d.path] for d in dimensions},
        distributions={d.name: distribution(d) for d in dimensions},
        constraints=violations(record, spec) if complete else None,
        intermediate_values={int(r["epoch"]): r[metric] for r in record.curve if metric in r} if one_metric else {},
    )


def violations(record: TrialRecord, spec: SweepSpec) -> dict[str, float]:
    """How far a finished trial is from meeting each constraint, so that the sampler learns where they hold."""
    metrics = metrics_of(record)
    return {text: parse_condition(text).violation(metrics) for text in spec.constraints}


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
