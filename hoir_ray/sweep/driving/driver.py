"""Decides which trial starts next, when one is stopped, and how each one ended. No Ray."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from hoir_ray.errors import StorageError
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import State, TrialRecord, now, picture_of
from hoir_ray.search.gaussian_process.promotion import Promotion
from hoir_ray.search.searcher import build_searcher
from hoir_ray.search.stopping import rule_of
from hoir_ray.search.warm_start import WarmStartData
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.spec.space import Space
from hoir_ray.sweep.driving import retries
from hoir_ray.sweep.driving.board import Board
from hoir_ray.sweep.driving.goal import Goal
from hoir_ray.sweep.driving.promotion import Promotable, promoted
from hoir_ray.sweep.driving.proposals import Proposals
from hoir_ray.sweep.driving.running import Running
from hoir_ray.sweep.planning.candidate import Candidate
from hoir_ray.trials.messages import Failed

LOOK_EVERY_S = 1.0


class Driver:
    """Turns asks, reports and ends into ledger records; the same whether Ray or a simulation runs the trials.

    Args:
        candidate: Turns a point into a config, and says why it is refused; asked several times for each point.
        records: Trials of an interrupted sweep; those that have not ended come first.
        warm_start: What an earlier sweep gives this one to start from.
        resumable: Trials with a checkpoint in storage.

    Attributes:
        board: The trials' records, counts and leaders.
        searcher, proposals: Draw the points, and make new trials of them.
        rule: Stops trials early.
        checks: Called again and again; they stop the driver for what it cannot see itself.
        stop_reason: Why the sweep stops; None while it does not.
        exit_code: What stopping asks for; 0 for a budget that is used up.
        has_reached_goal: Whether it stops because it has what it was for; resuming it finds nothing to do.
        storage_problem: What could not be written to storage or read from it, once that has happened.
    """

    def __init__(
        self,
        *,
        spec: SweepSpec,
        space: Space,
        ledger: Ledger,
        candidate: Callable[[Mapping[str, Scalar]], Candidate],
        records: Iterable[TrialRecord] = (),
        warm_start: WarmStartData | None = None,
        resumable: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec, self.space, self.candidate, self.clock = spec, space, candidate, clock
        self.board = Board(spec, ledger=ledger, records=records)
        self.checks: list[Callable[[], None]] = []
        self.stop_reason: str | None = None
        self.exit_code, self.storage_problem, self.has_reached_goal = 0, "", False
        ended = [r for r in self.records.values() if r.ended]
        self.searcher = build_searcher(
            spec,
            space,
            records=ended,
            warm_start=warm_start or WarmStartData(),
            facts=lambda point: {"num_parameters": float(candidate(point).num_parameters)},
        )
        self.rule = rule_of(spec)
        self._promotable = Promotable(self.records[n] for n in resumable if n in self.records)
        self._waiting: dict[str, float] = {}  # trial -> not before
        self._running: dict[str, Running] = {}
        self._moved_at = self._looked_at = -math.inf
        self.proposals = Proposals(spec, self.board, self.searcher, candidate=candidate)
        self._goal = Goal(spec)
        self._began_at = clock()
        self._recall()

    def _recall(self) -> None:
        """Bring the stopping rule to where it was, and queue the trials that have not ended."""
        for record in sorted((r for r in self.records.values() if r.ended), key=lambda r: r.ended_at or ""):
            self._look_at_goal(record)
        for record in self.records.values():
            for row in record.curve:
                if self.spec.epoch_metric.name in row:
                    self._decide(record, row)
            if record.state == "FINISHED" and not record.is_replicate:
                self.rule.finished(record.trial, row=record.best)
            if not record.ended:
                if not record.is_replicate:
                    self.searcher.reopen(record)
                self._waiting[record.trial] = 0.0

    @property
    def records(self) -> dict[str, TrialRecord]:
        return self.board.records

    @property
    def running(self) -> frozenset[str]:
        return frozenset(self._running)

    @property
    def finished(self) -> bool:
        """True once nothing runs, nothing waits and nothing new is to come."""
        if self._running or self.stop_reason is not None:
            return not self._running  # a number that is still being taken is a trial of the next run
        return not (self._waiting or self.proposals.is_pending) and self.proposals.are_over

    def next(self) -> TrialRecord | None:
        """The trial to start now: an interrupted or retried one first, then a new point; None if there is none yet."""
        if self.stop_reason is not None or self.storage_problem:
            return None
        for name, not_before in self._waiting.items():
            if self.clock() >= not_before:
                del self._waiting[name]
                return self._hand_out(name)
        return self._new_trial()

    def _new_trial(self) -> TrialRecord | None:
        try:
            found = self.proposals.next(promotable=self._promotable.names)
        except StorageError as error:
            self.storage_failed(str(error))
            return None
        if found is None:
            return None
        if isinstance(found, Promotion):
            self._promote(found)
        else:
            self.board.add(found)
        return self._hand_out(found.trial)  # last: the live view looks up what runs from another thread

    def _promote(self, promotion: Promotion) -> None:
        record = promoted(self.records[promotion.trial], promotion, several=len(self.spec.metrics) > 1)
        self.searcher.reopen(record)
        self.board.keep(record, save=True, event="promoted")

    def _hand_out(self, name: str) -> TrialRecord:
        self._running[name] = Running(asked_at=self.clock(), saved_at=self.clock())
        return self.records[name]

    def started(self, name: str) -> None:
        """Ray gave the trial a process; one of several workers has yet to get theirs."""
        record = self.records[name]
        if record.ended:
            return
        self._running[name].start(now=self.clock())
        if self.spec.resources.workers == 1:
            self.arrived(name)
        attempt, began = record.attempt + 1, record.started_at or now()
        record = record.change(
            f"attempt {attempt} started", state="RUNNING", reason="", attempt=attempt, node="", started_at=began
        )
        self.board.keep(record, save=True, event="started")

    def arrived(self, name: str) -> None:
        """Note that all workers are placed; the hang timeout starts now."""
        self._moved_at = self.clock()
        self._running[name].arrive(now=self._moved_at)

    def unplaced(self) -> dict[str, float]:
        """Trials for which Ray has found no place yet, and for how many seconds nothing has changed for them."""
        waits = {
            name: each.unplaced_s(moved_at=self._moved_at, now=self.clock()) for name, each in self._running.items()
        }
        return {name: wait_s for name, wait_s in waits.items() if wait_s is not None}

    def placed(
        self, name: str, *, node: str, notes: Iterable[str] = (), curve: Sequence[Mapping[str, float]] = ()
    ) -> None:
        """The trial's first message: where it runs, what it noticed, and the curve from which it resumes.

        Whatever was reported after that curve will be trained and reported again.
        """
        record = self.records[name]
        if record.ended:
            return
        self._running[name].message_at = self.clock()
        for note in notes:
            record = record.change(note)
        record = record.with_curve(curve, metric=self.spec.epoch_metric)
        resumes = f", resumes after epoch {record.epochs}" if curve else ""
        record = record.change(f"training on {node}{resumes}", node=node)
        for row in record.curve:  # known already, unless the driver died after the checkpoint was written
            self._decide(record, row)
        self.board.keep(record, save=False)

    def reported(self, name: str, row: Mapping[str, float]) -> str | None:
        """One validated epoch's metrics; returns why the trial should stop now, or None."""
        record = self.records[name]
        if record.ended:
            return record.reason
        running, clock = self._running[name], self.clock()
        running.end_epoch(now=clock)
        record = record.with_row(row, metric=self.spec.epoch_metric)
        reason = self._decide(record, row)
        is_over_time = running.is_over_time(self.spec.failures, now=clock)
        if (reason is not None or is_over_time) and row["epoch"] < self.candidate(record.parameters).max_epochs:
            if reason is None:
                return self._timed_out(record)
            return self._end(record, state="PRUNED", reason=reason)
        if due := running.is_to_be_saved(num_running=len(self._running), now=clock):
            running.saved_at = clock
        self.board.keep(record, save=due, event="epoch")
        return None

    def _decide(self, record: TrialRecord, row: Mapping[str, float]) -> str | None:
        """The stopping rule's reason; promoted trials train to their end, runs with other seeds compare with none."""
        if record.is_replicate:
            return None
        value = row[self.spec.epoch_metric.name]
        reason = self.rule.decide(record.trial, epoch=int(row["epoch"]), value=value, row=row)
        return None if record.is_promoted else reason

    def succeeded(self, name: str, *, reason: str, model: str | None, stored: Mapping[str, float] = {}) -> None:
        """The trial trained to its own end and its model is published.

        Args:
            stored: Metrics of its end, those of its stored form among them.
        """
        record = self.records[name]
        if record.ended:
            return
        picture = picture_of(model) if model is not None else None
        self._end(record.with_stored(stored).change(model=model, picture=picture), state="FINISHED", reason=reason)

    def failed(self, name: str, failure: Failed) -> None:
        """An attempt broke; it is tried again, later, unless that is pointless or was done often enough."""
        record, policy = self.records[name], self.spec.failures
        if record.ended:
            return
        if self.stop_reason is not None and retries.is_worth_retrying(failure, policy):
            self.interrupted(name, reason=self.stop_reason)
            return
        outcome = retries.after(record, failure, policy)
        if outcome.pause_s is not None:
            self._requeue(outcome.record, event=outcome.event, reason=outcome.reason, pause_s=outcome.pause_s)
            return
        self._end(outcome.record, state=failure.state, reason=outcome.reason)
        if (reason := retries.too_many(self.board.num_failed, of=self.board.num_ended, policy=policy)) is not None:
            self.stop(reason, exit_code=1)

    def preempted(self, name: str, *, reason: str) -> None:
        """Requeue a preempted trial, whose state is written; it counts as no failure."""
        record = self.records[name]
        if not record.ended:
            self._requeue(record, event=f"requeued: {reason}", reason=reason)

    def interrupted(self, name: str, *, reason: str) -> None:
        """The sweep is ending; the trial can be resumed from its last checkpoint another time."""
        record = self.records[name]
        self._forget(name)
        if not record.ended:
            self.board.keep(record.change(f"interrupted: {reason}", state="PENDING", reason=reason), save=True)

    def overdue(self) -> list[str]:
        """Give up trials that hang or did not stop when asked; returns whose processes must end."""
        if self.clock() - self._looked_at < LOOK_EVERY_S:  # asked at every step of Tune
            return []
        self._looked_at = self.clock()
        return [name for name in sorted(self._running) if self._give_up(name)]

    def _give_up(self, name: str) -> bool:
        record, running, clock = self.records[name], self._running[name], self.clock()
        if running.does_not_stop(self.spec.failures, now=clock):
            self._timed_out(record)
        elif (reason := running.hangs(self.spec.failures, record=record, now=clock)) is not None:
            self.failed(name, Failed(reason=reason, state="TIMEOUT"))
        else:
            return False
        return True

    def _timed_out(self, record: TrialRecord) -> str:
        limit_s = self.spec.failures.trial_timeout
        reason = f"took longer than failures.trial_timeout {limit_s:g} s; it got to epoch {record.epochs}"
        return self._end(record, state="TIMEOUT", reason=reason)

    def _requeue(self, record: TrialRecord, *, event: str, reason: str, pause_s: float = 0.0) -> None:
        self._forget(record.trial)
        self._waiting[record.trial] = self.clock() + pause_s
        self.board.keep(record.change(event, state="PENDING", reason=reason), save=True, event="retried")

    def _end(self, record: TrialRecord, *, state: State, reason: str) -> str:
        record = record.change(f"{state.lower()}: {reason}", state=state, reason=reason, ended_at=now())
        self._forget(record.trial)
        self._promotable.end(record)
        self.searcher.tell(record)
        if state == "FINISHED" and not record.is_replicate:
            self.rule.finished(record.trial, row=record.best)
        self.board.end(record)
        self._look_at_goal(record)
        return reason

    def _look_at_goal(self, record: TrialRecord) -> None:
        if not self.has_reached_goal and (reason := self._goal.reached(record)) is not None:
            self.has_reached_goal = True
            self.stop(reason)

    def _forget(self, name: str) -> None:
        self._running.pop(name, None)
        self._moved_at = self.clock()

    def storage_failed(self, reason: str) -> None:
        """Storage cannot be written or read: nothing new starts; what runs trains on and keeps its model here."""
        self.storage_problem = self.storage_problem or reason

    def stop(self, reason: str, *, exit_code: int = 0) -> None:
        """End the sweep as soon as running trials have been told; the first reason stays."""
        self.stop_reason = self.stop_reason or reason
        self.exit_code = exit_code or self.exit_code

    def check(self) -> None:
        """Stop when the wall clock of the budget is used up, or one of the checks says so."""
        if self.storage_problem and not self._running:
            self.stop(f"storage failed: {self.storage_problem}")
        for check in self.checks:
            check()
        limit = self.spec.budget.wall_clock
        if limit is not None and self.clock() - self._began_at >= limit:
            self.stop(f"the wall clock of {limit:g} s is used up")
