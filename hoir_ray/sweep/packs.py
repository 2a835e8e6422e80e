"""Which model packs are kept: all with one metric; with several, those of the front."""

from __future__ import annotations

from hoir_ray.ledger import TrialRecord
from hoir_ray.ranking import pareto_front, ranked
from hoir_ray.storage import Storage
from hoir_ray.sweep.driver import Driver


class FrontPacks:
    """Removes packs of trials that have left the front; a listener of the driver."""

    def __init__(self, driver: Driver, storage: Storage) -> None:
        self._driver, self._storage = driver, storage
        self._remove_unreferenced()
        self._trim()

    def changed(self, record: TrialRecord, event: str) -> None:
        if event == "ended" and record.model is not None:
            self._trim()

    def _trim(self) -> None:
        spec = self._driver.spec
        records = list(self._driver.records.values())
        front = {r.trial for r in pareto_front(ranked(records, spec=spec), metrics=spec.metrics)}
        for record in records:
            if record.model is not None and record.trial not in front:
                # The ledger first: a pack that nobody names is removed at the next start, one that is named and gone
                # would be an error for whoever pulls it.
                self._driver.model_removed(record.trial, why="not on the front")
                self._storage.delete_all(record.model)

    def _remove_unreferenced(self) -> None:
        """What a driver that was killed between the two steps left behind."""
        named = {o.key.split("/")[1] for o in self._storage.list("models")}
        for name in named:
            record = self._driver.records.get(name)
            if record is not None and record.ended and record.model is None:
                self._storage.delete_all(f"models/{name}")
