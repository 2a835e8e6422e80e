"""Outcomes of trials at the end of training: measured where they finished, estimated where they were stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hoir_ray.results.record import TrialRecord
from hoir_ray.search.ridge import learned_change
from hoir_ray.spec.conditions import Condition, parse_condition
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.spec.stored import SIZES, stand_in, with_stand_ins

Row = Mapping[str, float]
Values = Float[np.ndarray, " n"]
MIN_FINISHED = 5  # from which on what stopped trials would have gained is learned
# In units of the finished trials' spread: an estimate is never surer than this, and one without evidence this unsure.
LEAST_DEVIATION, PRIOR_GAIN, PRIOR_DEVIATION = 0.1, 0.25, 1.0
FAILED_DEVIATION = 0.5
LOG_SPAN = math.log(1e3)  # between least and most of a positive metric, from which on ratios are what matters
CLIP = 2.0  # times the distance from best to median, beyond which a bad value is just bad


@dataclass(frozen=True)
class Quantity:
    """Something that is modelled, less being better: a metric, or how far a constraint is from being met.

    Attributes:
        is_metric: Otherwise it is a constraint, met where the value is not above zero.
        is_known: Without training, and so never estimated.
        read: (a row of metrics) -> value, NaN where it is not known.
        is_size: Training does not change it, but for how many bits its weights need.
        is_relative: Ratios of its values are what matters.
    """

    name: str
    is_metric: bool
    is_known: bool
    read: Callable[[Row], float]
    is_size: bool = False
    is_relative: bool = False


def quantities_of(spec: SweepSpec, *, known: frozenset[str]) -> list[Quantity]:
    """Metrics first, then the constraints that `known` facts alone do not decide."""
    conditions = [parse_condition(text) for text in spec.constraints]
    relative = spec.searches_size
    return [_of_metric(m, is_known=m.name in known, is_relative=relative) for m in spec.metrics] + [
        _of_condition(c) for c in conditions if not c.names <= known
    ]


def _of_metric(metric: MetricSpec, *, is_known: bool, is_relative: bool) -> Quantity:
    return Quantity(
        metric.name,
        is_metric=True,
        is_known=is_known,
        read=lambda row: metric.loss(row.get(metric.name, math.nan)),
        is_size=stand_in(metric.name) in SIZES,
        is_relative=is_relative,
    )


def _of_condition(condition: Condition) -> Quantity:
    return Quantity(condition.text, False, False, condition.margin)


@dataclass(frozen=True)
class Trace:
    """One ended trial: all quantities at its best epoch so far, epoch by epoch.

    Attributes:
        epochs: (k,) increasing; empty for a trial that failed before it was ever validated.
        values: (k, q) at the best epoch by the first metric up to there.
        state: `finished`, `stopped`, or `failed` by its own fault.
    """

    epochs: Float[np.ndarray, " k"]
    values: Float[np.ndarray, "k q"]
    state: str

    def place(self, epoch: float) -> int:
        """The row of `values` that stood after `epoch`; -1 for before the first."""
        return int(np.searchsorted(self.epochs, epoch, side="right")) - 1


def trace_of(record: TrialRecord, *, quantities: Sequence[Quantity], leading: MetricSpec, facts: Row) -> Trace | None:
    """The trial as the model knows it; None where it says nothing about its point, such as a lost machine.

    Args:
        leading: The metric by which an epoch is the best so far. Until the stored form is measured, at that epoch,
            its metrics are those that stand for them; how far they are off is learned with what training still gains.
    """
    state = {"FINISHED": "finished", "PRUNED": "stopped"}.get(record.state, "failed")
    if state == "failed" and not record.num_failures:
        return None
    epochs, values = [], []
    best: tuple[float, list[float]] | None = None
    curve = record.curve or ((record.best,) if record.best else ())
    for row in curve:
        loss = leading.loss(row.get(leading.name, math.nan))
        if math.isfinite(loss) and (best is None or loss < best[0]):
            known = {**facts, **with_stand_ins(row)}
            best = loss, [q.read(known) for q in quantities]
        if best is not None:
            epochs.append(float(row.get("epoch", 1)))
            values.append(best[1])
    usable = state if values else "failed"
    return Trace(np.array(epochs), np.array(values).reshape(len(values), len(quantities)), usable)


@dataclass(frozen=True)
class Warp:
    """The scale on which a quantity is modelled: near 1, and in logarithms where it spans orders of magnitude."""

    unit: float
    log: bool

    def __call__(self, values: Values) -> Values:
        return np.log(values) if self.log else values / self.unit

    def back(self, value: float, deviation: float) -> tuple[float, float]:
        """A value with its standard deviation as it was measured."""
        if not self.log:
            return value * self.unit, deviation * self.unit
        return math.exp(value), math.exp(value) * math.expm1(min(deviation, 1.0))


@dataclass(frozen=True)
class Outcomes:
    """Of one quantity: what is taken for each trial's end, and its variance, both warped; NaN where nothing is."""

    values: Values
    variances: Values
    warp: Warp


def outcomes(
    traces: Sequence[Trace], inputs: Float[np.ndarray, "n d"], *, quantities: Sequence[Quantity]
) -> list[Outcomes]:
    """The ends of all trials, quantity by quantity, for points `inputs` (n, d)."""
    measured = np.concatenate([np.empty((0, len(quantities))), *(t.values for t in traces)])
    warps = [_warp(measured[:, k], q) for k, q in enumerate(quantities)]
    nothing = np.full((0, len(quantities)), math.nan)
    warped = [np.column_stack([w(t.values[:, k]) for k, w in enumerate(warps)]) for t in traces]
    curves = [nothing if t.state == "failed" else v for t, v in zip(traces, warped, strict=True)]
    ends = np.array([c[-1] if len(c) else np.full(len(quantities), math.nan) for c in curves])
    variances = np.zeros_like(ends)
    _estimate_stopped(traces, curves, inputs, ends, variances, improves=not quantities[0].is_size)
    found = []
    for column, quantity in enumerate(quantities):
        values, noise = ends[:, column], variances[:, column]
        if quantity.is_metric:
            values, noise = _as_bad_as_known(values if quantity.is_known else _clipped(values), noise)
        found.append(Outcomes(values, noise, warps[column]))
    return found


def _warp(values: Values, quantity: Quantity) -> Warp:
    known = values[np.isfinite(values)]
    if not len(known) or not known.any():
        return Warp(1.0, log=False)
    least, most = float(known.min()), float(np.abs(known).max())
    spans_orders = least > 0 and (quantity.is_relative or math.log(most) - math.log(least) > LOG_SPAN)
    return Warp(most, log=quantity.is_metric and spans_orders)


def _clipped(values: Values) -> Values:
    """Without the tail of bad values, which would flatten the differences between good ones."""
    known = values[np.isfinite(values)]
    if not len(known):
        return values
    median = float(np.median(known))
    spread = median - float(known.min())
    return np.minimum(values, median + CLIP * spread) if spread > 0 else values


def _as_bad_as_known(values: Values, noise: Values) -> tuple[Values, Values]:
    """Trials that failed, and values that are no numbers, taken for as bad as the worst."""
    known = np.isfinite(values)
    if not known.any():
        return values, noise
    deviation = FAILED_DEVIATION * (float(values[known].std()) or 1.0)
    return np.where(known, values, values[known].max()), np.where(known, noise, deviation**2)


def _estimate_stopped(
    traces: Sequence[Trace],
    curves: Sequence[Float[np.ndarray, "k q"]],
    inputs: Float[np.ndarray, "n d"],
    ends: Float[np.ndarray, "n q"],
    variances: Float[np.ndarray, "n q"],
    *,
    improves: bool,
) -> None:
    """Add what trials that ended gained on from where each stopped one was, and how sure that is.

    Args:
        improves: Whether training makes the first quantity better, and never worse.
    """
    by_epoch: dict[float, list[int]] = {}
    for number, trace in enumerate(traces):
        if trace.state == "stopped":
            by_epoch.setdefault(float(trace.epochs[-1]), []).append(number)
    whole = [i for i, t in enumerate(traces) if t.state == "finished"]
    unit = _spread(ends[whole]) if len(whole) > 1 else _spread(ends)
    for epoch, stopped in by_epoch.items():
        places = {i: traces[i].place(epoch) for i in whole}
        teachers = [i for i, place in places.items() if place >= 0]
        if len(teachers) < MIN_FINISHED:
            ends[stopped, 0] -= PRIOR_GAIN * unit[0] if improves else 0.0
            variances[stopped] = (PRIOR_DEVIATION * unit) ** 2
            continue
        before = np.array([curves[i][places[i]] for i in teachers])
        for column, scale in enumerate(unit):
            gains, deviation = learned_change(
                np.column_stack([inputs[teachers], before[:, column] / scale]),
                (ends[teachers, column] - before[:, column]) / scale,
                np.column_stack([inputs[stopped], ends[stopped, column] / scale]),
            )
            ends[stopped, column] += scale * (np.minimum(gains, 0.0) if column == 0 and improves else gains)
            variances[stopped, column] = (scale * max(deviation, LEAST_DEVIATION)) ** 2


def _spread(ends: Float[np.ndarray, "n q"]) -> Float[np.ndarray, " q"]:
    """The standard deviation of each quantity where it has one, else 1."""
    known = [column[np.isfinite(column)] for column in ends.T]
    return np.array([(float(column.std()) if len(column) else 0.0) or 1.0 for column in known])
