"""Simulated trials: a real driver with its searcher, stopping rule and ledger, and curves instead of training."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Mapping

from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import TrialRecord
from hoir_ray.sweep.driving.driver import Driver

NODE = "simulated"


class Clock:
    """Simulated seconds, for the driver and the simulation to share.

    Attributes:
        now: Since the simulation began.
    """

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Silent:
    """A listener of a sweep that shows nothing."""

    def changed(self, record: TrialRecord, event: str) -> None:
        """Nothing is shown."""

    def close(self) -> None:
        """Nothing is pending."""


class NoLedger(Ledger):
    """Keeps nothing, where only the search itself is looked at."""

    def __init__(self) -> None:
        """Needs no storage."""

    def create(self, record: TrialRecord) -> Callable[[], bool]:
        return lambda: True

    def save(self, record: TrialRecord) -> None: ...

    def save_snapshot(self, records: Iterable[TrialRecord]) -> None: ...

    def load(self, *, to_resume: bool = False) -> list[TrialRecord]:
        return []


class Simulation:
    """Runs a driver's trials, each epoch reported at its simulated time; equally long ones take turns.

    Args:
        row: The metrics of a trial's epoch, the epoch itself among them.
        epoch_s: Simulated seconds that each epoch of a trial takes.
        slots: Trials at a time.
        clock: The driver's own, where its timeouts and pauses are to follow the simulated time.
        publish: Puts a finished trial's model into storage.
        stored: Metrics of a finished trial's stored form.
    """

    def __init__(
        self,
        driver: Driver,
        *,
        row: Callable[[TrialRecord, int], Mapping[str, float]],
        epoch_s: Callable[[TrialRecord], float] = lambda record: 1.0,
        slots: int = 1,
        clock: Clock | None = None,
        publish: Callable[[TrialRecord], None] = lambda record: None,
        stored: Callable[[TrialRecord], Mapping[str, float]] = lambda record: {},
    ) -> None:
        self._driver, self._row, self._epoch_s, self._publish = driver, row, epoch_s, publish
        self._stored = stored
        self._slots, self._clock = slots, clock or Clock()
        self._due: list[tuple[float, int, str]] = []  # time, order of coming, trial
        self._order, self._num_epochs = itertools.count(), 0

    def run(self, *, num_ended: float = math.inf, num_epochs: float = math.inf) -> None:
        """Step until there is nothing to do, or so many of the sweep's trials have ended, or so many epochs more."""
        last = self._num_epochs + num_epochs
        while self._num_epochs < last and self._driver.board.num_ended < num_ended and self.step():
            pass

    def step(self) -> bool:
        """Start trials in free slots and report the epoch that is due next; False if none is."""
        while self._start():
            pass
        if not self._due:
            return False
        self._clock.now, _, name = heapq.heappop(self._due)
        self._num_epochs += 1
        self._report(name)
        return True

    def _start(self) -> bool:
        driver = self._driver
        driver.check()
        if dead := driver.overdue():
            self._due = [due for due in self._due if due[2] not in dead]
            heapq.heapify(self._due)
        if len(self._due) >= self._slots or (record := driver.next()) is None:
            return False
        driver.started(record.trial)
        driver.placed(record.trial, node=NODE, curve=record.curve)
        self._train(record)
        return True

    def _train(self, record: TrialRecord) -> None:
        heapq.heappush(self._due, (self._clock.now + self._epoch_s(record), next(self._order), record.trial))

    def _report(self, name: str) -> None:
        driver, record = self._driver, self._driver.records[name]
        epoch = record.epochs + 1
        if driver.reported(name, self._row(record, epoch)) is not None:
            return
        if epoch < driver.candidate(record.parameters).max_epochs:
            self._train(record)
            return
        self._publish(record)
        stored = self._stored(driver.records[name])
        driver.succeeded(name, reason=f"trained {epoch} epochs", model=f"models/{name}", stored=stored)
