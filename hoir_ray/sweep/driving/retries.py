"""Decides what follows a failed attempt: another one, after a pause, or the trial's end. No Ray."""

from __future__ import annotations

from dataclasses import dataclass

from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.schema import Failures
from hoir_ray.trials.messages import Failed

MAX_PREEMPTIONS = 10  # machines that a trial may lose before it is taken for the cause
MAX_PAUSE_S = 60.0
MIN_ENDED_TO_ABORT = 5


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Consequence of a failed attempt.

    Attributes:
        record: With the failure counted, and with the batch size of the next attempt.
        reason: Of the trial's new state.
        event: For its history.
        pause_s: Before the next attempt; None if there is none.
    """

    record: TrialRecord
    reason: str
    event: str
    pause_s: float | None


def after(record: TrialRecord, failure: Failed, policy: Failures) -> Outcome:
    """Count `failure` and give the trial another attempt, unless that is pointless or was done often enough."""
    retry, reason = is_worth_retrying(failure, policy), failure.reason
    if failure.state == "OOM" and failure.batch_size is not None:
        record = record.change(batch_size=failure.batch_size // 2 if retry else failure.batch_size)
    record = record.change(
        error=failure.error,
        num_failures=record.num_failures + (not failure.is_preemption),
        num_preemptions=record.num_preemptions + failure.is_preemption,
    )
    if retry and record.num_failures <= policy.max_retries and record.num_preemptions <= MAX_PREEMPTIONS:
        smaller = f"; next with batch size {record.batch_size}" if failure.state == "OOM" and record.batch_size else ""
        pause_s = 0.0 if failure.is_preemption else min(MAX_PAUSE_S, 2.0 ** (record.num_failures - 1))
        event = f"attempt {record.attempt} failed: {reason}{smaller}"
        return Outcome(record=record, reason=reason, event=event, pause_s=pause_s)
    if retry and failure.is_preemption:
        reason = f"{reason}; {record.num_preemptions} machines were lost with it"
    return Outcome(record=record, reason=reason, event=f"{failure.state.lower()}: {reason}", pause_s=None)


def is_worth_retrying(failure: Failed, policy: Failures) -> bool:
    """Return whether another attempt may fare better, however many there were."""
    if failure.state != "OOM" or failure.batch_size is None:
        return failure.retry
    return failure.retry and policy.on_oom == "halve_batch" and failure.batch_size > 1


def too_many(num_failed: int, *, of: int, policy: Failures) -> str | None:
    """Return why the sweep is given up after so many failed trials of those that have ended, or None."""
    limit = policy.abort_if_failed_fraction
    if of < MIN_ENDED_TO_ABORT or num_failed / of <= limit:
        return None
    return f"{num_failed} of {of} trials failed, more than abort_if_failed_fraction {limit:g}"
