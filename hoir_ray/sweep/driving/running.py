"""Times of an attempt under way, and the timeouts that follow from them. No Ray."""

from __future__ import annotations

from dataclasses import dataclass

from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.schema import Failures

# A running trial's record is written at most so often, and those of all of them together so many times a second.
SAVE_EVERY_S, SAVES_PER_S = 30.0, 2.0
GRACE_S = 5.0  # within which a trial that is over time is expected to stop at its next report
START_S = 60.0  # a new process, its imports and its data, before a trial's first epoch


@dataclass(kw_only=True)
class Running:
    """Times of one attempt, in seconds of the driver's clock.

    Attributes:
        asked_at: When Ray was asked for what it needs; None once all its workers are placed.
        saved_at: When its record was last saved.
        started_at: When its process started, or the last one of its workers was placed.
        message_at: When its last message came; None while its workers are not placed.
        epoch_at: When its last epoch was reported.
    """

    asked_at: float | None
    saved_at: float
    started_at: float = 0.0
    message_at: float | None = None
    epoch_at: float | None = None

    def start(self, *, now: float) -> None:
        """Count from a process that started; its record is saved then."""
        self.started_at = self.saved_at = now

    def arrive(self, *, now: float) -> None:
        """Count from all workers being placed."""
        self.asked_at = None
        self.started_at = self.message_at = now

    def end_epoch(self, *, now: float) -> None:
        self.message_at = self.epoch_at = now

    def unplaced_s(self, *, moved_at: float, now: float) -> float | None:
        """Return how long it has waited since a trial last was placed or gave its resources back; None if placed."""
        return None if self.asked_at is None else now - max(self.asked_at, moved_at)

    def is_over_time(self, failures: Failures, *, now: float, grace_s: float = 0.0) -> bool:
        limit_s = failures.trial_timeout
        return limit_s is not None and now - self.started_at > limit_s + grace_s

    def does_not_stop(self, failures: Failures, *, now: float) -> bool:
        """Return whether it is over time for so long that it should have been stopped at its next epoch."""
        return self.message_at is not None and self.is_over_time(failures, now=now, grace_s=GRACE_S)

    def hangs(self, failures: Failures, *, record: TrialRecord, now: float) -> str | None:
        """Return in words that it hangs, or None; until its first epoch it may be silent for longer."""
        limit_s = failures.hang_timeout
        if limit_s is None or self.message_at is None:
            return None
        has_trained = self.epoch_at is not None and self.epoch_at > self.started_at
        silent_s = now - self.message_at
        if silent_s <= limit_s + (0.0 if has_trained else START_S):
            return None
        after = f" after epoch {record.epochs}" if record.curve else ""
        return f"no report for {silent_s:.0f} s{after}, failures.hang_timeout is {limit_s:g} s"

    def is_to_be_saved(self, *, num_running: int, now: float) -> bool:
        return now - self.saved_at >= max(SAVE_EVERY_S, num_running / SAVES_PER_S)
