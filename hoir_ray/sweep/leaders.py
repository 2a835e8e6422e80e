"""The best trials so far, kept as trials end, so that none of those before is looked at again."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hoir_ray.ledger import TrialRecord
from hoir_ray.ranking import beats, broken_constraint, losses_of, pareto_front, ranked
from hoir_ray.spec import SweepSpec


def leaders(records: Iterable[TrialRecord], *, spec: SweepSpec) -> list[TrialRecord]:
    """The best one by the only metric, or the front of several, best first; of finished, feasible trials."""
    best = ranked(records, spec=spec)
    return pareto_front(best, metrics=spec.metrics) if len(spec.metrics) > 1 else best[:1]


def joined(front: list[TrialRecord], record: TrialRecord, *, spec: SweepSpec) -> list[TrialRecord]:
    """What `leaders` would be once `record`, which has ended, is one of the records.

    Only for trials of the search: those that are run again with other seeds change the order of others.
    """
    losses = losses_of(record, metrics=spec.metrics)
    known = [losses_of(r, metrics=spec.metrics) for r in front]
    out = record.state != "FINISHED" or broken_constraint(record, spec) is not None or any(map(math.isnan, losses))
    if out or any(beats(other, losses) for other in known):
        return front
    left = [r for r, other in zip(front, known, strict=True) if not beats(losses, other)]
    return leaders([*left, record], spec=spec)
