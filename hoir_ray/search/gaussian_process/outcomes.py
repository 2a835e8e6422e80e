"""What trials say about the end of training: measured where they finished, estimated where they were stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hoir_ray.expression import Condition, parse_condition
from hoir_ray.ledger import TrialRecord
from hoir_ray.spec import MetricSpec, SweepSpec

Row = Mapping[str, float]
MIN_FINISHED = 5  # from which on what stopped trials would have gained is learned
RIDGE = 0.3
# In units of the finished trials' spread: an estimate is never surer than this, and one without evidence this unsure.
LEAST_DEVIATION, PRIOR_GAIN, PRIOR_DEVIATION = 0.1, 0.25, 1.0
FAILED_DEVIATION = 0.5
CLIP = 2.0  # times the distance from best to median, beyond which a bad value is just bad


@dataclass(frozen=True)
class Quantity:
    """Something that is modelled, less being better: a metric, or how far a constraint is from being met.

    Attributes:
        is_metric: Otherwise it is a constraint, met where the value is not above zero.
        read: (a row of metrics) -> value, NaN where it is not known.
    """

    name: str
    is_metric: bool
    read: Callable[[Row], float]


def quantities_of(spec: SweepSpec, *, known: frozenset[str]) -> list[Quantity]:
    """Metrics first, then the constraints that `known` facts alone do not decide."""
    conditions = [parse_condition(text) for text in spec.constraints]
    return [_of_metric(m) for m in spec.metrics] + [_of_condition(c) for c in conditions if not c.names <= known]


def _of_metric(metric: MetricSpec) -> Quantity:
    sign = -1.0 if metric.goal == "maximize" else 1.0
    return Quantity(metric.name, True, lambda row: sign * row.get(metric.name, math.nan))


def _of_condition(condition: Condition) -> Quantity:
    return Quantity(condition.text, False, condition.margin)


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

    def at(self, epoch: float) -> Float[np.ndarray, " q"] | None:
        """The quantities as they stood after `epoch`."""
        place = int(np.searchsorted(self.epochs, epoch, side="right"))
        return self.values[place - 1] if place else None


def trace_of(record: TrialRecord, *, quantities: Sequence[Quantity], facts: Row) -> Trace | None:
    """The trial as the model knows it; None where it says nothing about its point, such as a lost machine."""
    state = {"FINISHED": "finished", "PRUNED": "stopped"}.get(record.state, "failed")
    if state == "failed" and not record.charged:
        return None
    epochs, values, best = [], [], None
    curve = record.curve or ((record.best,) if record.best else ())
    for row in curve:
        known = {**facts, **row}
        first = quantities[0].read(known)
        if math.isfinite(first) and (best is None or first < best[0]):
            best = [first, *(q.read(known) for q in quantities[1:])]
        if best is not None:
            epochs.append(float(row.get("epoch", 1)))
            values.append(best)
    usable = state if values else "failed"
    return Trace(np.array(epochs), np.array(values).reshape(len(values), len(quantities)), usable)


@dataclass(frozen=True)
class Outcomes:
    """Of one quantity: what is taken for each trial's end, and its variance; NaN where nothing is."""

    values: Float[np.ndarray, " n"]
    variances: Float[np.ndarray, " n"]


def outcomes(traces: Sequence[Trace], inputs: Float[np.ndarray, "n d"], *, quantities: Sequence[Quantity]) -> list[Outcomes]:
    """The ends of all trials, quantity by quantity, for points `inputs` (n, d)."""
    finished = np.array([t.state == "finished" for t in traces])
    ends = np.array([t.values[-1] if t.state != "failed" else np.full(len(quantities), math.nan) for t in traces])
    variances = np.zeros_like(ends)
    _estimate_stopped(traces, inputs, ends, variances, finished=finished)
    found = []
    for column, quantity in enumerate(quantities):
        values, noise = _clipped(ends[:, column], is_metric=quantity.is_metric), variances[:, column]
        known = np.isfinite(values)
        if quantity.is_metric and known.any():
            failed = np.array([t.state == "failed" for t in traces]) | ~known
            values = np.where(failed, values[known].max(), values)
            noise = np.where(failed, (FAILED_DEVIATION * (values[known].std() or 1.0)) ** 2, noise)
        found.append(Outcomes(values, noise))
    return found


def _clipped(values: Float[np.ndarray, " n"], *, is_metric: bool) -> Float[np.ndarray, " n"]:
    """Without the tail of bad values, which would flatten the differences between good ones."""
    known = values[np.isfinite(values)]
    if not is_metric or not len(known):
        return values
    median = float(np.median(known))
    spread = median - float(known.min())
    return np.minimum(values, median + CLIP * spread) if 0 < spread < math.inf else values


def _estimate_stopped(
    traces: Sequence[Trace],
    inputs: Float[np.ndarray, "n d"],
    ends: Float[np.ndarray, "n q"],
    variances: Float[np.ndarray, "n q"],
    *,
    finished: np.ndarray,
) -> None:
    """Add what trials that ended would have gained on from where each stopped one was, and how sure that is."""
    by_epoch: dict[float, list[int]] = {}
    for number, trace in enumerate(traces):
        if trace.state == "stopped":
            by_epoch.setdefault(float(trace.epochs[-1]), []).append(number)
    whole = np.flatnonzero(finished)
    spread = np.std(ends[whole], axis=0) if len(whole) > 1 else np.zeros(ends.shape[1])
    everyone = np.nan_to_num(np.nanstd(ends, axis=0)) if by_epoch else spread
    unit = np.where(spread > 0, spread, np.where(everyone > 0, everyone, 1.0))
    for epoch, stopped in by_epoch.items():
        then = {int(i): traces[i].at(epoch) for i in whole}
        teachers = [i for i, values in then.items() if values is not None]
        if len(teachers) < MIN_FINISHED:
            ends[stopped, 0] -= PRIOR_GAIN * unit[0]
            variances[stopped] = (PRIOR_DEVIATION * unit) ** 2
            continue
        before = np.array([then[i] for i in teachers])
        for column in range(ends.shape[1]):
            scale = unit[column]
            gains, deviation = learned_change(
                np.column_stack([inputs[teachers], before[:, column] / scale]),
                (ends[teachers, column] - before[:, column]) / scale,
                np.column_stack([inputs[stopped], ends[stopped, column] / scale]),
            )
            ends[stopped, column] += scale * (np.minimum(gains, 0.0) if column == 0 else gains)
            variances[stopped, column] = (scale * max(deviation, LEAST_DEVIATION)) ** 2


def learned_change(
    known: Float[np.ndarray, "n d"], changes: Float[np.ndarray, " n"], asked: Float[np.ndarray, "m d"]
) -> tuple[Float[np.ndarray, " m"], float]:
    """Ridge regression of `changes` on `known`, at `asked`, and the standard deviation of what it leaves."""
    centre, mean = known.mean(0), float(changes.mean())
    rows = known - centre
    gram = rows.T @ rows
    inverse = np.linalg.inv(gram + RIDGE * np.eye(gram.shape[1]))
    slope = inverse @ (rows.T @ (changes - mean))
    left = changes - mean - rows @ slope
    freedom = max(len(changes) - 1 - float(np.trace(inverse @ gram)), 1.0)
    return mean + (asked - centre) @ slope, math.sqrt(float(left @ left) / freedom)
