"""The driver's mind: which trial runs next, when one stops, what its end means. Knows nothing of Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hoir_ray.ledger import ENDED, Ledger, State, TrialRecord, best_row, now
from hoir_ray.spec import SweepSpec
from hoir_ray.sweep.searcher import Point, Refusal, Searcher
from hoir_ray.sweep.space import Space
from hoir_ray.sweep.stopping import build_rule

SAVE_EVERY_S = 30.0
MIN_ENDED_TO_ABORT = 5


class Listener(Protocol):
    """Is told of every change; the live view and the event lines are listeners."""

    def changed(self, record: TrialRecord, event: str) -> None:
        """`event` is one of started, epoch, ended, retried."""


@dataclass(kw_only=True)
class Driver:
    """Turns asks, reports and ends into ledger records; the same whether Ray or a simulation runs the trials.

    Attributes:
        refuse: Why a point cannot become a trial, or None.
        describe: Facts of a point that are known before training: num_parameters, batch_size, seed.
    """

    spec: SweepSpec
    space: Space
    ledger: Ledger
    refuse: Refusal
    describe: Callable[[Point], Mapping[str, int]]
    max_epochs: Callable[[TrialRecord], int]
    records: dict[str, TrialRecord] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic
    stop_reason: str | None = None
    interrupted_by: str = ""

    def __post_init__(self) -> None:
        metric = self.spec.metric
        past = sorted(self.records.values(), key=lambda r: r.number)
        self._searcher = Searcher(self.spec, self.space, records=[r for r in past if r.ended])
        self._rule = build_rule(self.spec.early_terminate, metric=metric.name, goal=metric.goal)
        self._waiting: dict[str, float] = {}
        self._running: set[str] = set()
        self._saved_at: dict[str, float] = {}
        self._exhausted = False
        self._started = self.clock()
        for record in past:
            for row in record.curve:
                if metric.name in row:
                    self._rule.decide(record.trial, epoch=int(row["epoch"]), value=row[metric.name])
            if not record.ended:
                self._searcher.reopen(record)
                self._waiting[record.trial] = 0.0

    # -- what runs next -------------------------------------------------------------------------------------------

    def next(self) -> TrialRecord | None:
        """The trial to start now: an interrupted or retried one first, then a new point; None if there is none yet."""
        if self.stop_reason is not None:
            return None
        for name, not_before in self._waiting.items():
            if self.clock() >= not_before:
                del self._waiting[name]
                self._running.add(name)
                return self.records[name]
        return self._new_trial()

    def _new_trial(self) -> TrialRecord | None:
        limit = self.spec.budget.max_trials
        if self._exhausted or (limit is not None and len(self.records) >= limit):
            return None
        number = max((r.number for r in self.records.values()), default=0) + 1
        name = f"t{number:04d}"
        point = self._searcher.ask(name, refuse=self.refuse)
        if point is None:
            self._exhausted = True
            return None
        record = TrialRecord(trial=name, number=number, parameters=point, created_at=now(), **self.describe(point))
        self._running.add(name)
        self._keep(record.change("created"), save=True)
        return self.records[name]

    @property
    def running(self) -> frozenset[str]:
        return frozenset(self._running)

    @property
    def finished(self) -> bool:
        """Whether nothing runs, nothing waits and nothing new is to come."""
        if self._running:
            return False
        if self.stop_reason is not None:
            return True
        limit = self.spec.budget.max_trials
        return not self._waiting and (self._exhausted or (limit is not None and len(self.records) >= limit))

    # -- what happens to a trial ----------------------------------------------------------------------------------

    def started(self, name: str) -> None:
        """Ray gave the trial a process."""
        record = self.records[name]
        if record.ended:
            return
        attempt = record.attempt + 1
        again = f" again, from epoch {record.epochs}" if attempt > 1 else ""
        record = record.change(
            f"attempt {attempt} started{again}",
            state="RUNNING",
            reason="",
            attempt=attempt,
            node="",
            started_at=record.started_at or now(),
        )
        self._keep(record, save=True, event="started")

    def placed(self, name: str, *, node: str, notes: Iterable[str] = ()) -> None:
        """The trial's first word: where it runs, and what it noticed when it went on from a checkpoint."""
        record = self.records[name].change(f"training on {node}", node=node)
        for note in notes:
            record = record.change(note)
        self._keep(record, save=False)

    def reported(
        self, name: str, row: Mapping[str, float], *, curve: Iterable[Mapping[str, float]] | None = None
    ) -> str | None:
        """One validated epoch's metrics; returns why the trial should stop now, or None.

        Args:
            curve: The rows before this one as the trial's checkpoint has them, given when it went on from there.
        """
        record = self.records[name]
        if record.ended:
            return record.reason
        metric = self.spec.metric
        epoch, value = int(row["epoch"]), row[metric.name]
        rows = (*(curve if curve is not None else record.curve), dict(row))
        rows = tuple(dict(r) for r in rows if r["epoch"] < epoch) + (dict(row),)
        record = record.change(curve=rows, best=best_row(rows, metric=metric.name, goal=metric.goal))
        self._searcher.report(name, epoch=epoch, value=value)
        reason = self._rule.decide(name, epoch=epoch, value=value)
        if reason is not None and epoch < self.max_epochs(record):
            self._end(record, state="PRUNED", reason=reason)
            return reason
        due = self.clock() - self._saved_at.get(name, 0.0) >= SAVE_EVERY_S
        self._keep(record, save=due, event="epoch")
        return None

    def succeeded(self, name: str, *, reason: str, model: str | None) -> None:
        """The trial trained to its own end and its model is published."""
        if not self.records[name].ended:
            self._end(self.records[name].change(model=model), state="FINISHED", reason=reason)

    def failed(
        self,
        name: str,
        *,
        reason: str,
        error: str | None = None,
        state: State = "FAILED",
        retry: bool,
        charge: bool = True,
    ) -> None:
        """An attempt broke; it is tried again, later, unless that is pointless or was done often enough."""
        record = self.records[name]
        if record.ended:
            return
        record = record.change(error=error, charged=record.charged + charge)
        if retry and self.stop_reason is None and record.charged <= self.spec.failures.max_retries:
            pause_s = min(60.0, 2.0 ** (record.charged - 1)) if charge else 0.0
            self._running.discard(name)
            self._waiting[name] = self.clock() + pause_s
            record = record.change(f"attempt {record.attempt} failed: {reason}", state="PENDING", reason=reason)
            self._keep(record, save=True, event="retried")
            return
        self._end(record, state=state, reason=reason)
        self._abort_if_too_many_failed()

    def interrupted(self, name: str, *, reason: str) -> None:
        """The sweep is ending; the trial can go on from its last checkpoint another time."""
        record = self.records[name]
        self._running.discard(name)
        if not record.ended:
            self._keep(record.change(f"interrupted: {reason}", state="PENDING", reason=reason), save=True)

    def stop(self, reason: str) -> None:
        """End the sweep as soon as running trials have been told."""
        self.stop_reason = self.stop_reason or reason

    def check_time(self) -> None:
        """Stop when the wall clock of the budget is used up."""
        limit = self.spec.budget.wall_clock
        if limit is not None and self.clock() - self._started >= limit:
            self.stop(f"the wall clock of {limit:g} s is used up")

    def _abort_if_too_many_failed(self) -> None:
        ended = [r for r in self.records.values() if r.ended]
        failed = [r for r in ended if r.state not in ("FINISHED", "PRUNED")]
        limit = self.spec.failures.abort_if_failed_fraction
        if len(ended) >= MIN_ENDED_TO_ABORT and len(failed) / len(ended) > limit:
            self.stop(f"{len(failed)} of {len(ended)} trials failed, more than abort_if_failed_fraction {limit:g}")

    def _end(self, record: TrialRecord, *, state: State, reason: str) -> None:
        assert state in ENDED
        record = record.change(f"{state.lower()}: {reason}", state=state, reason=reason, ended_at=now())
        self._running.discard(record.trial)
        self._searcher.tell(record)
        self._keep(record, save=True, event="ended")

    def _keep(self, record: TrialRecord, *, save: bool, event: str = "") -> None:
        self.records[record.trial] = record
        if save:
            self._saved_at[record.trial] = self.clock()
            self.ledger.save(record)
        if event:
            for listener in self.listeners:
                listener.changed(record, event)
