"""Share of the variance between trials that one parameter explains alone, where it applies.

Most trials of a sweep are stopped early, so trials are compared by how far they came: longer before shorter, and by
the metric among those that came equally far. A share of the variation of these places is given to each parameter by a
one-way analysis of variance over its values, ranges being cut into quarters, and corrected for what chance explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.schema import SweepSpec

MIN_TRIALS = 8
NUM_GROUPS = 4


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Share in [0, 1] of the variation of places that `path` explains among `num_trials` trials; None if too few."""

    path: str
    condition: str
    num_trials: int
    share: float | None


def importances(records: Sequence[TrialRecord], *, spec: SweepSpec, metric: MetricSpec) -> list[Importance]:
    """One line for each case of each parameter that has more than one value, the most important first."""
    comparable = [r for r in records if not r.is_replicate and metric.name in (r.best or {}) and r.ended]
    places = dict(zip((r.trial for r in comparable), _places(comparable, metric), strict=True))
    found = []
    for path, cases in spec.parameters.items():
        for case in cases:
            if case.value is not None or (case.values is not None and len(case.values) < 2):
                continue
            group = [r for r in comparable if path in r.parameters and _applies(r, case.when)]
            share = explained_share([r.parameters[path] for r in group], [places[r.trial] for r in group])
            condition = " and ".join(f"{k} is {' or '.join(map(str, v))}" for k, v in case.when.items())
            found.append(Importance(path=path, condition=condition, num_trials=len(group), share=share))
    return sorted(found, key=lambda i: -1.0 if i.share is None else i.share, reverse=True)


def explained_share(values: Sequence[Scalar], places: Sequence[float]) -> float | None:
    """Epsilon squared of a one-way analysis of variance, cut off at 0; None where it cannot be estimated.

    Source: Kelley 1935, "An unbiased correlation ratio measure".
    """
    groups = _groups(values)
    num_groups, count = len(set(groups)), len(places)
    if count < MIN_TRIALS or num_groups < 2 or count <= num_groups:
        return None
    y, labels = np.asarray(places, dtype=float), np.asarray(groups)
    total = float(((y - y.mean()) ** 2).sum())
    if total == 0:
        return None
    within = sum(float(((part := y[labels == g]) - part.mean()) @ (part - part.mean())) for g in set(groups))
    return max(0.0, 1.0 - (within / (count - num_groups)) / (total / (count - 1)))


def _groups(values: Sequence[Scalar]) -> list[int]:
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    distinct = sorted(set(values), key=lambda v: (str(type(v)), v if numeric else str(v)))
    if not numeric or len(distinct) <= NUM_GROUPS:
        return [distinct.index(v) for v in values]
    column = np.asarray(values, dtype=float)
    edges = np.quantile(column, np.linspace(0, 1, NUM_GROUPS + 1)[1:-1])
    return [int(g) for g in np.searchsorted(edges, column, side="left")]


def _places(records: Sequence[TrialRecord], metric: MetricSpec) -> list[float]:
    """Place in [0, 1] of each record, 1 being the best: by epochs trained if it was stopped, then by the metric."""

    def standing(record: TrialRecord) -> tuple[float, float]:
        assert record.best is not None
        came = float("inf") if record.state == "FINISHED" else float(record.epochs)
        return came, -metric.loss(record.best[metric.name])

    order = sorted(range(len(records)), key=lambda i: standing(records[i]))
    places = [0.0] * len(records)
    for place, index in enumerate(order):
        places[index] = place / max(1, len(records) - 1)
    return places


def _applies(record: TrialRecord, when: dict[str, tuple[Scalar, ...]]) -> bool:
    return all(path in record.parameters and record.parameters[path] in values for path, values in when.items())
