"""The leaders of a finished search, run again with other seeds, so that luck is not taken for merit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hoir_ray.results.front import knee, pareto_front
from hoir_ray.results.ranking import ranked
from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.schema import SweepSpec


@dataclass(frozen=True)
class Replicate:
    """A trial to be run again, and the seed to do it with."""

    of: TrialRecord
    seed: int

    def record(self, name: str, *, number: int) -> TrialRecord:
        return TrialRecord(
            trial=name,
            number=number,
            parameters=self.of.parameters,
            num_parameters=self.of.num_parameters,
            batch_size=self.of.batch_size,
            seed=self.seed,
            replicate_of=self.of.trial,
        )


def next_replicate(spec: SweepSpec, records: Iterable[TrialRecord]) -> Replicate | None:
    """Return the next run of `replicate_top`; None while the search is running, and once all were created."""
    if spec.replicate_top is None:
        return None
    everything = list(records)
    search = [r for r in everything if not r.is_replicate]
    if not all(r.ended for r in search):
        return None
    created = {(r.replicate_of, r.seed) for r in everything}
    for leader in _leaders(spec, search)[: spec.replicate_top.num_trials]:
        for add in range(1, spec.replicate_top.num_seeds + 1):
            seed = (leader.seed + add) % 2**32
            if (leader.trial, seed) not in created:
                return Replicate(leader, seed)
    return None


def _leaders(spec: SweepSpec, search: list[TrialRecord]) -> list[TrialRecord]:
    """Rank by the search's own scores; with several metrics the front, its knee first."""
    leaders = ranked(search, spec=spec)
    if len(spec.metrics) == 1:
        return leaders
    front = pareto_front(leaders, metrics=spec.metrics)
    bend = knee(front, metrics=spec.metrics)
    return front if bend is None else [bend, *(r for r in front if r is not bend)]
