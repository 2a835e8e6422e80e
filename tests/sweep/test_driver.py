"""The driver with simulated trials: states, retries, resume, constraints, and what Optuna is told."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState

from hoir_ray.errors import WorkError
from hoir_ray.results.ledger import Ledger
from hoir_ray.storage import open_storage
from hoir_ray.testing.example import MAX_EPOCHS, TEXT, build_driver, run
from hoir_ray.trials.messages import Failed

ASHA = TEXT + "early_terminate: {type: asha, min_iter: 1, eta: 3}\n"


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path)).child("simulated")


def states(driver):
    return {r.trial: r.state for r in driver.records.values()}


def test_every_trial_asked_for_ends_once(storage):
    driver = build_driver(storage, ASHA)
    run(driver, slots=3)
    assert driver.finished
    assert len(driver.records) == 12
    assert set(states(driver).values()) <= {"FINISHED", "PRUNED"}
    assert "PRUNED" in states(driver).values()
    for record in driver.records.values():
        assert record.ended_at is not None
        assert record.reason
        assert [row["epoch"] for row in record.curve] == list(range(1, record.epochs + 1))


def test_the_ledger_holds_what_the_driver_knows(storage):
    driver = build_driver(storage, ASHA)
    run(driver)
    assert {r.trial: r for r in Ledger(storage).load()} == driver.records


def test_optuna_is_told_pruned_with_values_and_complete_with_the_best(storage):
    driver = build_driver(storage, ASHA + "method: tpe\n")
    run(driver, slots=2)
    told = driver.searcher.trials
    assert sum(t.state == TrialState.COMPLETE for t in told) == list(states(driver).values()).count("FINISHED")
    pruned = [t for t in told if t.state == TrialState.PRUNED]
    assert len(pruned) == list(states(driver).values()).count("PRUNED")
    assert all(t.intermediate_values for t in pruned)
    best = max(r.best["quality"] for r in driver.records.values() if r.state == "FINISHED" and r.best)
    assert max(t.value for t in told if t.state == TrialState.COMPLETE and t.value is not None) == best


def test_resume_keeps_what_ended_and_goes_on_with_the_rest(storage):
    first = build_driver(storage, text := ASHA + "method: tpe\n")
    run(first, slots=3, num_epochs=14)
    for name in sorted(first.running):
        first.interrupted(name, reason="test")
    before = {r.trial: r for r in Ledger(storage).load()}
    ended = {name for name, r in before.items() if r.ended}
    assert ended
    assert len(before) > len(ended)

    second = build_driver(storage, text, records=list(before.values()))
    run(second, slots=3)
    assert len(second.records) == 12
    assert all(r.ended for r in second.records.values())
    for name in ended:
        assert second.records[name] == before[name]
    for name in before.keys() - ended:
        assert second.records[name].parameters == before[name].parameters
        assert second.records[name].attempt == before[name].attempt + 1
    told = second.searcher.trials
    assert len(told) == 12
    assert all(t.state != TrialState.RUNNING for t in told)


def test_a_failed_attempt_is_tried_again_after_a_pause_and_then_given_up(storage):
    now = [0.0]
    driver = build_driver(storage, TEXT.replace("max_trials: 12", "max_trials: 1"), clock=lambda: now[0])
    name = driver.next().trial
    for attempt in (1, 2, 3):
        driver.started(name)
        driver.failed(name, Failed(reason="worker process died"))
        if attempt < 3:
            assert driver.records[name].state == "PENDING"
            assert driver.next() is None
            now[0] += 2.0 ** (attempt - 1)
            assert driver.next().trial == name
    assert driver.records[name].state == "FAILED"
    assert driver.records[name].attempt == 3
    assert driver.finished


def test_a_lost_machine_is_not_charged(storage):
    driver = build_driver(storage)
    name = driver.next().trial
    for _ in range(10):
        driver.started(name)
        driver.failed(name, Failed(reason="its machine was lost", is_preemption=True))
        assert driver.next().trial == name
    assert driver.records[name].num_failures == 0


def test_divergence_is_final_at_once(storage):
    driver = build_driver(storage)
    name = driver.next().trial
    driver.started(name)
    driver.failed(name, Failed(reason="val_loss became nan in epoch 2", retry=False))
    assert driver.records[name].state == "FAILED"


def test_too_many_failures_stop_the_sweep_and_say_so(storage):
    driver = build_driver(storage)
    for _ in range(5):
        name = driver.next().trial
        driver.started(name)
        driver.failed(name, Failed(reason="no", retry=False))
    assert driver.next() is None
    assert driver.stop_reason == "5 of 5 trials failed, more than abort_if_failed_fraction 0.5"


def test_the_wall_clock_stops_the_sweep(storage):
    now = [0.0]
    text = TEXT.replace("max_trials: 12", "wall_clock: 10s")
    driver = build_driver(storage, text, clock=lambda: now[0])
    assert driver.next() is not None
    now[0] = 10.0
    driver.check()
    assert driver.next() is None
    assert "wall clock" in (driver.stop_reason or "")


def test_a_broken_constraint_never_becomes_a_trial(storage):
    def refuse(point):
        return "too wide" if point["network.hidden.width"] > 20 else None

    driver = build_driver(storage, TEXT + "method: tpe\n", refuse=refuse)
    run(driver)
    assert len(driver.records) == 12
    assert all(r.parameters["network.hidden.width"] <= 20 for r in driver.records.values())
    assert len(driver.searcher.trials) == 12


def test_constraints_that_nothing_meets_are_an_error_and_no_endless_search(storage):
    driver = build_driver(storage, refuse=lambda point: "never")
    with pytest.raises(WorkError, match="meets the constraints"):
        driver.next()


def test_a_grid_ends_when_every_point_was_tried(storage):
    text = TEXT.replace("min: 5, max: 31", "values: [5]").replace("min: 4, max: 64", "values: [8, 16]")
    text = text.replace("min: 1.0e-4, max: 1.0e-1, distribution: log_uniform_values", "value: 0.01") + "method: grid\n"
    driver = build_driver(storage, text.replace("max_trials: 12", "max_trials: 100"))
    run(driver)
    assert len(driver.records) == (3 + 1) * 2
    assert driver.finished


@pytest.mark.parametrize("method", ["bayes", "tpe", "random"])
def test_a_small_space_ends_instead_of_repeating_itself(storage, method):
    text = TEXT.replace("min: 5, max: 31", "values: [5]").replace("min: 4, max: 64", "values: [8, 16]")
    text = text.replace("min: 1.0e-4, max: 1.0e-1, distribution: log_uniform_values", "value: 0.01")
    driver = build_driver(storage, text.replace("max_trials: 12", "max_trials: 100") + f"method: {method}\n")
    run(driver)
    assert len(driver.records) == 8


def test_a_worker_that_starts_over_repeats_no_epoch_in_the_curve(storage):
    driver = build_driver(storage)
    name = driver.next().trial
    driver.started(name)
    for epoch in (1, 2, 3):
        driver.reported(name, {"epoch": float(epoch), "quality": float(epoch)})
    driver.failed(name, Failed(reason="died", is_preemption=True))
    driver.next()
    driver.started(name)
    rows = ({"epoch": 1.0, "quality": 1.0}, {"epoch": 2.0, "quality": 2.0})
    driver.placed(name, node="here", curve=rows)
    assert [r["epoch"] for r in driver.records[name].curve] == [1, 2]
    driver.reported(name, {"epoch": 3.0, "quality": 3.5})
    assert [r["epoch"] for r in driver.records[name].curve] == [1, 2, 3]
    assert driver.records[name].best["quality"] == 3.5


def test_the_last_epoch_is_never_pruned(storage):
    driver = build_driver(storage, TEXT + f"early_terminate: {{type: asha, min_iter: {MAX_EPOCHS}, eta: 3}}\n")
    run(driver)
    assert set(states(driver).values()) == {"FINISHED"}


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
def test_several_metrics_search_a_front(storage, method):
    text = TEXT.replace(
        "metric: {name: quality, goal: maximize}",
        "metrics: [{name: quality, goal: maximize}, {name: cost, goal: minimize}]",
    )
    driver = build_driver(storage, text + f"method: {method}\n")
    for _ in range(12):
        record = driver.next()
        driver.started(record.trial)
        width = float(record.parameters["network.hidden.width"])
        driver.reported(record.trial, {"epoch": 1.0, "quality": width, "cost": width})
        driver.succeeded(record.trial, reason="done", model=None)
    assert all(len(t.values) == 2 for t in driver.searcher.trials)


def test_a_trial_that_leaves_its_machine_goes_on_and_is_not_charged(storage):
    driver = build_driver(storage)
    name = driver.next().trial
    driver.started(name)
    driver.reported(name, {"epoch": 1.0, "quality": 3.0})
    driver.preempted(name, reason="its machine is about to go")
    record = driver.records[name]
    assert (record.state, record.num_failures, record.num_preemptions) == ("PENDING", 0, 0)
    assert driver.next().trial == name
    driver.started(name)
    driver.placed(name, node="another", curve=record.curve)
    assert driver.records[name].attempt == 2
    assert any("put back: its machine is about to go" in line for line in driver.records[name].history)


def test_one_worker_has_its_place_when_it_starts_and_a_group_when_it_has_arrived(storage):
    now = [0.0]
    driver = build_driver(storage, clock=lambda: now[0])
    first = driver.next().trial
    now[0] = 10.0
    assert driver.unplaced() == {first: 10.0}
    driver.started(first)
    assert driver.unplaced() == {}

    group = build_driver(storage.child("group"), TEXT + "resources: {workers: 2}\n", clock=lambda: now[0])
    first = group.next().trial
    group.started(first)
    now[0] = 5000.0
    assert group.unplaced() == {first: 4990.0}
    assert group.overdue() == [], "a trial that waits for its workers does not hang"
    group.arrived(first)
    assert group.unplaced() == {}
    now[0] = 9000.0
    assert group.overdue() == [first]
