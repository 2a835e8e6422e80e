"""The records of a sweep's trials: counted, ranked, saved to the ledger, and shown to listeners. No Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from hoir_ray.results.front import joined, leaders
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import ENDED, TrialRecord
from hoir_ray.spec.schema import SweepSpec

COMPACT_EVERY, COMPACT_SHARE = 200, 0.2  # trials ended since the last snapshot, and as a share of all


class Listener(Protocol):
    """Callback for every change; the live view and the event lines are listeners."""

    def changed(self, record: TrialRecord, event: str) -> None:
        """`event` is one of started, epoch, ended, retried, promoted."""


class Board:
    """Records of all trials, with counts and leaders kept up to date.

    Attributes:
        records: Trial -> its record.
        listeners: Told of every change, in this order.
        counts: Trials by state.
        leaders: The best trial so far, or the front of several metrics.
        num_searched: Trials but for those that run another one again with another seed.
    """

    def __init__(self, spec: SweepSpec, *, ledger: Ledger, records: Iterable[TrialRecord] = ()) -> None:
        past = sorted(records, key=lambda r: r.number)
        self.ledger = ledger
        self.records = {r.trial: r for r in past}
        self.listeners: list[Listener] = []
        self.counts = Counter(r.state for r in past)
        self.leaders = leaders(past, spec=spec)
        self.num_searched = sum(not r.is_replicate for r in past)
        self._spec = spec
        self._last_number = past[-1].number if past else 0
        self._ended_since_snapshot = 0

    @property
    def next_number(self) -> int:
        return self._last_number + 1

    @property
    def num_ended(self) -> int:
        return sum(self.counts[state] for state in ENDED)

    @property
    def num_failed(self) -> int:
        return self.num_ended - self.counts["FINISHED"] - self.counts["PRUNED"]

    def add(self, record: TrialRecord) -> None:
        """Take in a new trial, whose record is in the ledger already."""
        self._last_number = record.number
        self.num_searched += not record.is_replicate
        self.keep(record, save=False)

    def keep(self, record: TrialRecord, *, save: bool, event: str = "") -> None:
        """Replace the trial's record.

        Args:
            event: For the listeners, who are not told without one.
        """
        if (before := self.records.get(record.trial)) is not None:
            self.counts[before.state] -= 1
        self.counts[record.state] += 1
        self.records[record.trial] = record
        if save:
            self.ledger.save(record)
        if event:
            for listener in self.listeners:
                listener.changed(record, event)

    def remove_model(self, name: str, *, why: str) -> None:
        """Note that the trial's model pack is no longer kept."""
        self.keep(self.records[name].change(f"model removed: {why}", model=None), save=True)

    def end(self, record: TrialRecord) -> None:
        """Replace the record of a trial that has ended now, and the leaders if it is one of them."""
        assert record.ended
        if self.num_searched == len(self.records):
            self.leaders = joined(self.leaders, record, spec=self._spec)
        else:  # runs with other seeds change the order of others
            self.leaders = leaders([*self.records.values(), record], spec=self._spec)
        self.keep(record, save=True, event="ended")
        self._ended_since_snapshot += 1
        if self._ended_since_snapshot >= max(COMPACT_EVERY, COMPACT_SHARE * len(self.records)):
            self._ended_since_snapshot = 0
            self.ledger.save_snapshot(self.records.values())
