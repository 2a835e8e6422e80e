"""New trials: points of the searcher while the budget lasts, then replicates; each once its number is taken."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from hoir_ray.errors import SpecError, StorageError
from hoir_ray.results.ledger import trial_name
from hoir_ray.results.record import TrialRecord, now
from hoir_ray.search.gaussian_process.promotion import Promotion
from hoir_ray.search.replicate import next_replicate
from hoir_ray.search.searcher import Searcher
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.sweep.driving.board import Board
from hoir_ray.sweep.driving.creation import Creation
from hoir_ray.sweep.planning.candidate import Candidate


class Proposals:
    """Draws the next trial and takes a number for it in the ledger, which may need several calls."""

    def __init__(
        self,
        spec: SweepSpec,
        board: Board,
        searcher: Searcher,
        *,
        candidate: Callable[[Mapping[str, Scalar]], Candidate],
    ) -> None:
        self._spec, self._board, self._searcher, self._candidate = spec, board, searcher, candidate
        self._creation: Creation | None = None
        self._exhausted = False

    @property
    def is_pending(self) -> bool:
        """True while a drawn trial waits for its number."""
        return self._creation is not None

    @property
    def are_over(self) -> bool:
        """True once no trial of the search and no replicate is to come."""
        return self._is_searched and next_replicate(self._spec, self._board.records.values()) is None

    @property
    def _is_searched(self) -> bool:
        limit = self._spec.budget.max_trials
        return self._exhausted or (limit is not None and self._board.num_searched >= limit)

    def next(self, *, promotable: Collection[str] = ()) -> TrialRecord | Promotion | None:
        """The next new trial, in the ledger already, or a stopped one to continue; None if there is none yet.

        Args:
            promotable: Stopped trials that could be continued.

        Raises:
            StorageError: If its number cannot be taken.
        """
        drawn = self._draw(self._board.next_number, promotable) if self._creation is None else None
        if isinstance(drawn, Promotion):
            return drawn
        if drawn is not None:
            self._creation = Creation(drawn, ledger=self._board.ledger, searcher=self._searcher)
        try:
            record = self._creation.result() if self._creation is not None else None
        except StorageError:
            self._creation = None
            raise
        if record is not None:
            self._creation = None
        return record

    def _draw(self, number: int, promotable: Collection[str]) -> TrialRecord | Promotion | None:
        """The next point as a record, which is no trial before its number is ours; None if there is no point left."""
        name = trial_name(number)
        if not self._is_searched:
            point = self._searcher.ask(name, refuse=self._refusal, promotable=promotable)
            if isinstance(point, Promotion):
                return point
            if point is not None:
                record = self._candidate(point).record(name, number=number, parameters=point)
                return record.change("created", created_at=now())
            self._exhausted = True
        again = next_replicate(self._spec, self._board.records.values())
        if again is None:
            return None
        record = again.record(name, number=number)
        return record.change(f"created, {record.replicate_of} with seed {record.seed}", created_at=now())

    def _refusal(self, point: Mapping[str, Scalar]) -> str | None:
        """Return why a point cannot be tried: a constraint that it breaks, or settings that do not go together."""
        try:
            return self._candidate(point).refusal
        except SpecError as error:
            return str(error)
