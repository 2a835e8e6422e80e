"""The driver's mind: which trial runs next, when one stops, what its end means. Knows nothing of Ray."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from hoir_ray.results.front import joined, leaders
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import ENDED, State, TrialRecord, best_row, now
from hoir_ray.search.replicate import next_replicate
from hoir_ray.search.searcher import Point, Refusal, Searcher
from hoir_ray.search.stopping import build_rule
from hoir_ray.search.warm_start import WarmStartData
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.spec.space import Space

# A running trial's record is written at most so often, and those of all of them together so many times a second.
SAVE_EVERY_S, SAVES_PER_S = 30.0, 2.0
MIN_ENDED_TO_ABORT = 5
MAX_PREEMPTIONS = 10  # machines that a trial may lose before it is taken for the cause
GRACE_S = 5.0  # within which a trial that is over time is expected to stop at its next report
START_S = 60.0  # a new process and its imports, before a trial's first word
COMPACT_EVERY, COMPACT_SHARE = 200, 0.2  # trials ended since the last snapshot, and as a share of all
LOOK_EVERY_S = 1.0


class Listener(Protocol):
    """Is told of every change; the live view and the event lines are listeners."""

    def changed(self, record: TrialRecord, event: str) -> None:
        """`event` is one of started, epoch, ended, retried."""


@dataclass(kw_only=True)
class Driver:
    """Turns asks, reports and ends into ledger records; the same whether Ray or a simulation runs the trials.

    Attributes:
        checks: Asked again and again: why the sweep must stop now, or None. For what the driver cannot see itself.
        stop_code: The exit code that the reason for stopping asks for; 0 for a budget that is used up.
        storage_problem: What could not be written to storage or read from it, once that has happened.
        refuse: Why a point cannot become a trial, or None.
        warm_start: What an earlier sweep gives this one to start from.
        describe: Facts of a point that are known before training: num_parameters, batch_size, seed.
        counts: Trials by state.
        leaders: The best trial so far, or the front of several metrics.
    """

    spec: SweepSpec
    space: Space
    ledger: Ledger
    refuse: Refusal
    describe: Callable[[Point], Mapping[str, int]]
    max_epochs: Callable[[TrialRecord], int]
    warm_start: WarmStartData = field(default_factory=WarmStartData)
    records: dict[str, TrialRecord] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    checks: list[Callable[[], str | None]] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic
    stop_reason: str | None = None
    interrupted_by: str = ""
    stop_code: int = 0
    storage_problem: str = ""

    def __post_init__(self) -> None:
        metric = self.spec.epoch_metric
        past = sorted(self.records.values(), key=lambda r: r.number)
        self.counts = Counter(r.state for r in past)
        self.leaders = leaders(past, spec=self.spec)
        self._last_number = past[-1].number if past else 0
        self._num_searched = sum(r.replicate_of is None for r in past)
        self._looked_at = -math.inf
        self._searcher = Searcher(
            self.spec, self.space, records=[r for r in past if r.ended], warm_start=self.warm_start
        )
        self._rule = build_rule(
            self.spec.early_terminate, metrics=(self.spec.epoch_metric, *self.spec.epoch_metrics[1:])
        )
        self._waiting: dict[str, float] = {}
        self._running: set[str] = set()
        self._saved_at: dict[str, float] = {}
        self._started_at: dict[str, float] = {}
        self._heard_at: dict[str, float] = {}
        self._asked_at: dict[str, float] = {}
        self._moved_at = -math.inf
        self._ended_since_snapshot = 0
        self._exhausted = False
        self._started = self.clock()
        for record in past:
            for row in record.curve:
                if metric.name in row:
                    self._decide(record, row)
            if not record.ended:
                if record.replicate_of is None:
                    self._searcher.reopen(record)
                self._waiting[record.trial] = 0.0

    # -- what runs next -------------------------------------------------------------------------------------------

    def next(self) -> TrialRecord | None:
        """The trial to start now: an interrupted or retried one first, then a new point; None if there is none yet."""
        if self.stop_reason is not None or self.storage_problem:
            return None
        for name, not_before in self._waiting.items():
            if self.clock() >= not_before:
                del self._waiting[name]
                self._hand_out(name)
                return self.records[name]
        return self._new_trial()

    def _new_trial(self) -> TrialRecord | None:
        number = self._last_number + 1
        name = f"t{number:04d}"
        if self._searched_enough:
            again = next_replicate(self.spec, self.records.values())
            return self._created(again.record(name, number=number)) if again else None
        point = self._searcher.ask(name, refuse=self.refuse)
        if point is None:
            self._exhausted = True
            return self._new_trial() if self.spec.replicate_top else None
        return self._created(TrialRecord(trial=name, number=number, parameters=point, **self.describe(point)))

    def _hand_out(self, name: str) -> None:
        self._running.add(name)
        self._asked_at[name] = self.clock()

    def _created(self, record: TrialRecord) -> TrialRecord:
        self._last_number = record.number
        self._num_searched += record.replicate_of is None
        event = f"created, {record.replicate_of} with seed {record.seed}" if record.replicate_of else "created"
        self._keep(record.change(event, created_at=now()), save=True)
        self._hand_out(record.trial)  # last: the live view looks up what runs from a thread of its own
        return self.records[record.trial]

    @property
    def _searched_enough(self) -> bool:
        limit = self.spec.budget.max_trials
        return self._exhausted or (limit is not None and self._num_searched >= limit)

    @property
    def num_ended(self) -> int:
        return sum(self.counts[state] for state in ENDED)

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
        if self._waiting or not self._searched_enough:
            return False
        return next_replicate(self.spec, self.records.values()) is None

    # -- what happens to a trial ----------------------------------------------------------------------------------

    def started(self, name: str) -> None:
        """Ray gave the trial a process; one of several workers has yet to get theirs."""
        record = self.records[name]
        if record.ended:
            return
        attempt = record.attempt + 1
        self._started_at[name] = self.clock()
        if self.spec.resources.workers == 1:
            self.arrived(name)
        record = record.change(
            f"attempt {attempt} started",
            state="RUNNING",
            reason="",
            attempt=attempt,
            node="",
            started_at=record.started_at or now(),
        )
        self._keep(record, save=True, event="started")

    def arrived(self, name: str) -> None:
        """Everything that the trial needs was found for it; from now on it is to be heard of."""
        self._asked_at.pop(name, None)
        self._started_at[name] = self._heard_at[name] = self._moved_at = self.clock()

    def unplaced(self) -> dict[str, float]:
        """Trials for which Ray has found no place yet, and for how many seconds nothing has changed for them."""
        return {name: self.clock() - max(since, self._moved_at) for name, since in self._asked_at.items()}

    def placed(
        self, name: str, *, node: str, notes: Iterable[str] = (), curve: Sequence[Mapping[str, float]] = ()
    ) -> None:
        """The trial's first word: where it runs, what it noticed, and the curve that it goes on from.

        Whatever was reported after that curve will be trained and reported again.
        """
        record = self.records[name]
        if record.ended:
            return
        self._heard_at[name] = self.clock()
        metric = self.spec.epoch_metric
        rows = tuple(dict(r) for r in curve)
        goes_on = f", goes on after epoch {int(rows[-1]['epoch'])}" if rows else ""
        for note in notes:
            record = record.change(note)
        best = best_row(rows, metric=metric.name, goal=metric.goal)
        record = record.change(f"training on {node}{goes_on}", node=node, curve=rows, best=best)
        for row in rows:  # known already, unless the driver died after the checkpoint was written
            self._decide(record, row)
        self._keep(record, save=False)

    def reported(self, name: str, row: Mapping[str, float]) -> str | None:
        """One validated epoch's metrics; returns why the trial should stop now, or None."""
        record = self.records[name]
        if record.ended:
            return record.reason
        self._heard_at[name] = self.clock()
        epoch = int(row["epoch"])
        record = self._with_row(record, row)
        reason = self._decide(record, row)
        if reason is not None and epoch < self.max_epochs(record):
            self._end(record, state="PRUNED", reason=reason)
            return reason
        limit = self.spec.failures.trial_timeout
        if limit is not None and self._running_s(name) > limit and epoch < self.max_epochs(record):
            self._keep(record, save=False)
            return self._timed_out(name)
        due = self.clock() - self._saved_at.get(name, 0.0) >= max(SAVE_EVERY_S, len(self._running) / SAVES_PER_S)
        self._keep(record, save=due, event="epoch")
        return None

    def _with_row(self, record: TrialRecord, row: Mapping[str, float]) -> TrialRecord:
        """One epoch more; an epoch that is trained again takes the place of what was reported from there on."""
        metric = self.spec.epoch_metric
        kept, known = record.curve, [record.best] if record.best is not None else []
        if record.epochs >= row["epoch"]:
            kept = tuple(r for r in kept if r["epoch"] < row["epoch"])
            known = list(kept)
        best = best_row([*known, row], metric=metric.name, goal=metric.goal)
        return record.change(curve=(*kept, dict(row)), best=best)

    def _decide(self, record: TrialRecord, row: Mapping[str, float]) -> str | None:
        """The stopping rule's word; runs with other seeds train to their end and are compared with no other."""
        if record.replicate_of is not None:
            return None
        value = row[self.spec.epoch_metric.name]
        return self._rule.decide(record.trial, epoch=int(row["epoch"]), value=value, row=row)

    def model_removed(self, name: str, *, why: str) -> None:
        """The trial's model pack is no longer kept."""
        self._keep(self.records[name].change(f"model removed: {why}", model=None), save=True)

    def succeeded(
        self, name: str, *, reason: str, model: str | None, stored: Mapping[str, float] = MappingProxyType({})
    ) -> None:
        """The trial trained to its own end and its model is published.

        Args:
            stored: Metrics of its stored form, which join those of the best epoch.
        """
        record = self.records[name]
        if not record.ended:
            best = {**record.best, **stored} if record.best is not None else None
            self._end(record.change(model=model, best=best), state="FINISHED", reason=reason)

    def failed(
        self,
        name: str,
        *,
        reason: str,
        error: str | None = None,
        state: State = "FAILED",
        retry: bool,
        charge: bool = True,
        batch_size: int | None = None,
    ) -> None:
        """An attempt broke; it is tried again, later, unless that is pointless or was done often enough.

        Args:
            charge: Whether it was the trial's own fault.
            batch_size: With which it was trained; halved for the next attempt after running out of memory.
        """
        record = self.records[name]
        if record.ended:
            return
        if state == "OOM" and batch_size is not None:
            retry = retry and self.spec.failures.on_oom == "halve_batch" and batch_size > 1
            record = record.change(batch_size=batch_size // 2 if retry else batch_size)
        record = record.change(
            error=error,
            num_failures=record.num_failures + charge,
            num_preemptions=record.num_preemptions + (not charge),
        )
        if retry and self.stop_reason is None and self._may_retry(record):
            pause_s = min(60.0, 2.0 ** (record.num_failures - 1)) if charge else 0.0
            self._forget(name)
            self._waiting[name] = self.clock() + pause_s
            smaller = f"; next with batch size {record.batch_size}" if state == "OOM" and record.batch_size else ""
            event = f"attempt {record.attempt} failed: {reason}{smaller}"
            self._keep(record.change(event, state="PENDING", reason=reason), save=True, event="retried")
            return
        if retry and self.stop_reason is not None:
            self.interrupted(name, reason=self.stop_reason)
            return
        if retry and not charge:
            reason = f"{reason}; {record.num_preemptions} machines were lost with it"
        self._end(record, state=state, reason=reason)
        self._abort_if_too_many_failed()

    def put_back(self, name: str, *, reason: str) -> None:
        """Requeue a preempted trial, whose state is written; it counts as no failure."""
        record = self.records[name]
        self._forget(name)
        if not record.ended:
            self._waiting[name] = self.clock()
            self._keep(record.change(f"put back: {reason}", state="PENDING", reason=reason), save=True, event="retried")

    def _may_retry(self, record: TrialRecord) -> bool:
        return record.num_failures <= self.spec.failures.max_retries and record.num_preemptions <= MAX_PREEMPTIONS

    def overdue(self) -> list[str]:
        """Running trials whose process must be ended: they said nothing for too long, or did not stop when asked.

        Looked for once a second, however often it is asked.
        """
        if self.clock() - self._looked_at < LOOK_EVERY_S:
            return []
        self._looked_at = self.clock()
        return [name for name in sorted(self._running) if name in self._heard_at and self._give_up(name)]

    def _give_up(self, name: str) -> bool:
        failures = self.spec.failures
        if failures.trial_timeout is not None and self._running_s(name) > failures.trial_timeout + GRACE_S:
            self._timed_out(name)
            return True
        silent_s = self.clock() - self._heard_at[name]
        spoke = self._heard_at[name] > self._started_at[name]
        if failures.hang_timeout is not None and silent_s > failures.hang_timeout + (0 if spoke else START_S):
            after = f" after epoch {self.records[name].epochs}" if self.records[name].curve else ""
            reason = f"no report for {silent_s:.0f} s{after}, failures.hang_timeout is {failures.hang_timeout:g} s"
            self.failed(name, reason=reason, state="TIMEOUT", retry=True)
            return True
        return False

    def _timed_out(self, name: str) -> str:
        limit, record = self.spec.failures.trial_timeout, self.records[name]
        reason = f"took longer than failures.trial_timeout {limit:g} s; it got to epoch {record.epochs}"
        self._end(record, state="TIMEOUT", reason=reason)
        return reason

    def _running_s(self, name: str) -> float:
        return self.clock() - self._started_at[name]

    def storage_failed(self, reason: str) -> None:
        """Storage cannot be written or read: nothing new starts; what runs trains on and keeps its model here."""
        self.storage_problem = self.storage_problem or reason

    def interrupted(self, name: str, *, reason: str) -> None:
        """The sweep is ending; the trial can go on from its last checkpoint another time."""
        record = self.records[name]
        self._forget(name)
        if not record.ended:
            self._keep(record.change(f"interrupted: {reason}", state="PENDING", reason=reason), save=True)

    def stop(self, reason: str) -> None:
        """End the sweep as soon as running trials have been told."""
        self.stop_reason = self.stop_reason or reason

    def check(self) -> None:
        """Stop when the wall clock of the budget is used up, or one of the checks says so."""
        if self.storage_problem and not self._running:
            self.stop(f"storage failed: {self.storage_problem}")
        for check in self.checks:
            if (reason := check()) is not None:
                self.stop(reason)
        limit = self.spec.budget.wall_clock
        if limit is not None and self.clock() - self._started >= limit:
            self.stop(f"the wall clock of {limit:g} s is used up")

    def _abort_if_too_many_failed(self) -> None:
        ended = self.num_ended
        failed = ended - self.counts["FINISHED"] - self.counts["PRUNED"]
        limit = self.spec.failures.abort_if_failed_fraction
        if ended >= MIN_ENDED_TO_ABORT and failed / ended > limit:
            self.stop_code = 1
            self.stop(f"{failed} of {ended} trials failed, more than abort_if_failed_fraction {limit:g}")

    def _end(self, record: TrialRecord, *, state: State, reason: str) -> None:
        assert state in ENDED
        record = record.change(f"{state.lower()}: {reason}", state=state, reason=reason, ended_at=now())
        self._forget(record.trial)
        self._searcher.tell(record)
        if self._num_searched == len(self.records):
            self.leaders = joined(self.leaders, record, spec=self.spec)
        else:  # runs with other seeds change the order of others
            self.leaders = leaders([*self.records.values(), record], spec=self.spec)
        self._keep(record, save=True, event="ended")
        self._ended_since_snapshot += 1
        if self._ended_since_snapshot >= max(COMPACT_EVERY, COMPACT_SHARE * len(self.records)):
            self._ended_since_snapshot = 0
            self.ledger.save_snapshot(self.records.values())

    def _forget(self, name: str) -> None:
        self._running.discard(name)
        self._heard_at.pop(name, None)
        self._asked_at.pop(name, None)
        self._moved_at = self.clock()

    def _keep(self, record: TrialRecord, *, save: bool, event: str = "") -> None:
        if (before := self.records.get(record.trial)) is not None:
            self.counts[before.state] -= 1
        self.counts[record.state] += 1
        self.records[record.trial] = record
        if save:
            self._saved_at[record.trial] = self.clock()
            self.ledger.save(record)
        if event:
            for listener in self.listeners:
                listener.changed(record, event)
