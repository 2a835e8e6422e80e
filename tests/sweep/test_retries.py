"""The retry policy: a pure function of the record, the failure and the sweep's policy."""

from __future__ import annotations

import pytest

from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.schema import Failures
from hoir_ray.sweep.driving.retries import MAX_PAUSE_S, MAX_PREEMPTIONS, after, is_worth_retrying, too_many
from hoir_ray.trials.messages import Failed

RECORD = TrialRecord(trial="t0001", number=1, parameters={}, attempt=1)
LOST = Failed(reason="its machine was lost", is_preemption=True)
DIED = Failed(reason="its worker process died")


def test_each_failure_is_waited_for_twice_as_long_up_to_a_minute():
    record, pauses = RECORD, []
    for _ in range(9):
        outcome = after(record, DIED, Failures(max_retries=9))
        record = outcome.record
        pauses.append(outcome.pause_s)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, MAX_PAUSE_S, MAX_PAUSE_S, MAX_PAUSE_S]
    assert (record.num_failures, record.num_preemptions) == (9, 0)
    assert after(record, DIED, Failures(max_retries=9)).pause_s is None


def test_a_lost_machine_is_waited_for_by_nobody_and_is_an_end_in_the_eleventh_case():
    record = RECORD
    for _ in range(MAX_PREEMPTIONS):
        outcome = after(record, LOST, Failures(max_retries=0))
        assert outcome.pause_s == 0.0
        record = outcome.record
    last = after(record, LOST, Failures(max_retries=0))
    assert last.pause_s is None
    assert last.reason == f"its machine was lost; {MAX_PREEMPTIONS + 1} machines were lost with it"
    assert last.record.num_failures == 0


@pytest.mark.parametrize(
    ("on_oom", "batch_size", "next_size", "retries"),
    [("halve_batch", 9, 4, True), ("halve_batch", 1, 1, False), ("fail", 9, 9, False)],
)
def test_out_of_memory(on_oom, batch_size, next_size, retries):
    policy, failure = Failures(on_oom=on_oom), Failed(reason="no memory", state="OOM", batch_size=batch_size)
    outcome = after(RECORD, failure, policy)
    assert outcome.record.batch_size == next_size
    assert (outcome.pause_s is not None) == retries == is_worth_retrying(failure, policy)
    assert (f"next with batch size {next_size}" in outcome.event) == retries


def test_the_record_that_was_given_is_left_as_it_is():
    before = RECORD.model_dump()
    after(RECORD, DIED, Failures())
    assert RECORD.model_dump() == before


@pytest.mark.parametrize(("failed", "ended", "stops"), [(4, 4, False), (3, 6, False), (4, 6, True), (5, 5, True)])
def test_a_sweep_is_given_up_when_too_large_a_share_failed(failed, ended, stops):
    assert (too_many(failed, of=ended, policy=Failures(abort_if_failed_fraction=0.5)) is not None) == stops
