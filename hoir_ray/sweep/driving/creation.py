"""Creation of a trial: its number is taken in storage, where another driver may have been faster."""

from __future__ import annotations

from hoir_ray.results.ledger import Ledger, trial_name
from hoir_ray.results.record import TrialRecord
from hoir_ray.search.searcher import Searcher


class Creation:
    """A record on its way into the ledger, under the first number from its own on that is free."""

    def __init__(self, record: TrialRecord, *, ledger: Ledger, searcher: Searcher) -> None:
        self._record, self._ledger, self._searcher = record, ledger, searcher
        self._is_ours = ledger.create(record)

    def result(self) -> TrialRecord | None:
        """The record once it is written, None as long as storage has not answered.

        Raises:
            StorageError: If it could not be written.
        """
        while (is_ours := self._is_ours()) is False:
            number = self._record.number + 1
            self._searcher.rename(self._record.trial, to=trial_name(number))
            self._record = self._record.model_copy(update={"trial": trial_name(number), "number": number})
            self._is_ours = self._ledger.create(self._record)
        return self._record if is_ours else None
