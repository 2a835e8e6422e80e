"""The contract of a searcher, and which one a sweep's `method` asks for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from hoir_ray.results.record import TrialRecord
from hoir_ray.search.gaussian_process.promotion import Promotion
from hoir_ray.search.gaussian_process.searcher import Facts, GaussianProcessSearcher
from hoir_ray.search.optuna_searcher import OptunaSearcher
from hoir_ray.search.warm_start import WarmStartData
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.spec.space import Space

Point = dict[str, Scalar]
Refusal = Callable[[Point], str | None]


class Searcher(Protocol):
    """Decides which point is tried next."""

    def ask(self, name: str, *, refuse: Refusal, promotable: Collection[str] = ()) -> Point | Promotion | None:
        """The next point for the trial `name`, or None when every point has been tried.

        Args:
            refuse: Why a point cannot be tried, such as a constraint that it breaks; None if it can.
            promotable: Stopped trials that could be continued instead.

        Raises:
            WorkError: If no point could be found that is not refused.
        """

    def rename(self, name: str, *, to: str) -> None:
        """Give the point of an open trial to another one, whose number is free."""

    def reopen(self, record: TrialRecord) -> None:
        """Resume an interrupted or promoted trial, as a running one with its own point."""

    def tell(self, record: TrialRecord) -> None:
        """Take in how a trial ended."""


def build_searcher(
    spec: SweepSpec,
    space: Space,
    *,
    records: Sequence[TrialRecord] = (),
    warm_start: WarmStartData = WarmStartData(),  # noqa: B008  # frozen
    facts: Facts = lambda point: {},
) -> Searcher:
    """The searcher that `method` names.

    Args:
        records: Ended trials of the sweep so far.
        facts: Metrics of a point that are known without training it.
    """
    if spec.method not in ("bayes", "gp"):
        return OptunaSearcher(spec, space, records=records, warm_start=warm_start)

    def fallback(records: Sequence[TrialRecord], running: Mapping[str, Point]) -> Searcher:
        tpe = spec.model_copy(update={"method": "tpe"})
        searcher = OptunaSearcher(tpe, space, records=records, warm_start=WarmStartData(observed=warm_start.observed))
        for name, point in running.items():
            searcher.reopen(TrialRecord(trial=name, number=0, parameters=point))
        return searcher

    return GaussianProcessSearcher(
        spec,
        space,
        records=records,
        first=warm_start.points,
        observed=warm_start.observed,
        facts=facts,
        fallback=fallback,
    )
