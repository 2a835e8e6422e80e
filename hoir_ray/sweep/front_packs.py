"""Model packs that are kept: all with one metric; with several, those of the front."""

from __future__ import annotations

from collections.abc import Callable

from hoir_ray.results.record import MODELS, TrialRecord, trial_of
from hoir_ray.storage import Storage
from hoir_ray.sweep.driving.board import Board


class FrontPacks:
    """Removes packs of trials that have left the front; a listener of the board.

    Args:
        delete: Deletes a folder of the storage, by then or later, so that the driver need not wait for it.
    """

    def __init__(self, board: Board, storage: Storage, *, delete: Callable[[str], object] | None = None) -> None:
        self._board, self._storage = board, storage
        self._delete = delete or storage.delete_all
        self._kept = {r.trial for r in board.records.values() if r.model is not None}
        self._remove_unreferenced()
        self._trim()

    def changed(self, record: TrialRecord, event: str) -> None:
        if event == "ended" and record.model is not None:
            self._kept.add(record.trial)
            self._trim()

    def _trim(self) -> None:
        for name in sorted(self._kept - {r.trial for r in self._board.leaders}):
            model = self._board.records[name].model
            assert model is not None
            # The ledger first: a pack that nobody names is removed at the next start, one that is named and gone
            # would be an error for whoever pulls it.
            self._board.remove_model(name, why="not on the front")
            self._delete(model)
            self._kept.remove(name)

    def _remove_unreferenced(self) -> None:
        """Remove packs that a driver killed between the two steps left behind."""
        for folder in {o.key.rpartition("/")[0] for o in self._storage.list(MODELS)}:
            record = self._board.records.get(trial_of(folder))
            if record is not None and record.ended and record.model is None:
                self._storage.delete_all(folder)
