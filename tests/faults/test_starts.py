"""Several starts of one sweep, trials that all fail, and a soak of random kills."""

from __future__ import annotations

import contextlib
import os
import random
import time
from pathlib import Path

import psutil
import pytest

from tests.faults.gates import Gate
from tests.faults.invariants import check_invariants
from tests.faults.sweeps import TEXT, Sweep, stop_at_once

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_of_eight_starts_one_wins_and_a_killed_winner_holds_nobody_up(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    text = TEXT.replace("max_trials: 4", "max_trials: 2")
    sweep = Sweep(tmp_path, storage=str(tmp_path / "runs"), text=text, faults=[gate.fault])
    processes = [sweep.start() for _ in range(8)]
    end = time.monotonic() + 120
    while [p.poll() for p in processes].count(None) > 1 or " started" not in sweep.log:
        assert time.monotonic() < end, sweep.log
        time.sleep(0.1)
    codes = [p.poll() for p in processes]
    assert sorted(codes, key=str) == [2] * 7 + [None], sweep.log
    assert sweep.log.count("already run by") == 7
    stop_at_once(processes[codes.index(None)])
    gate.open()
    code = sweep.run()
    check_invariants(sweep, num_trials=2, exit_code=code)
    assert code == 0


def test_when_every_trial_fails_the_causes_are_summed_up(tmp_path: Path) -> None:
    sweep = Sweep(
        tmp_path,
        storage=str(tmp_path / "runs"),
        text=TEXT.replace("max_trials: 4", "max_trials: 5") + "failures: {max_retries: 0}\n",
        faults=[{"trial": "*", "do": "raise", "message": "the cause"}],
    )
    code = sweep.run()
    assert code == 1
    check_invariants(sweep, num_trials=5, exit_code=code)
    assert "5 x RuntimeError: the cause" in sweep.log
    assert "Traceback" not in sweep.log
    assert "abort_if_failed_fraction" in sweep.log


def test_a_trial_told_to_leave_writes_its_state_first(tmp_path: Path) -> None:
    gate = Gate(tmp_path, attempts=[1])
    sweep = Sweep(
        tmp_path,
        storage=str(tmp_path / "runs"),
        text=TEXT.replace("max_trials: 4", "max_trials: 1") + "failures: {max_retries: 0}\n",
        faults=[gate.fault],
    )
    process = sweep.start()
    sweep.wait_until(gate.held, process=process)
    psutil.Process(gate.held()["t0001"]).terminate()
    code = process.wait(timeout=300)
    record = check_invariants(sweep, num_trials=1, exit_code=code)["t0001"]
    assert code == 0, sweep.log
    assert (record.attempt, record.num_failures, record.num_preemptions) == (2, 0, 0), record.history
    assert any("put back: its process got SIGTERM" in line for line in record.history)
    first, second = sweep.epochs()["t0001", 1], sweep.epochs()["t0001", 2]
    assert second[0] == first[-1] + 1


@pytest.mark.long
def test_random_kills_leave_memory_and_descriptors_flat(tmp_path: Path) -> None:
    """HOIR_SOAK_TRIALS=100 makes it five minutes and more."""
    num_trials = int(os.environ.get("HOIR_SOAK_TRIALS", "10"))
    chance = random.Random(36)
    doomed = chance.sample([f"t{n:04d}" for n in range(2, num_trials + 1)], num_trials // 2)
    gates = {trial: Gate(tmp_path, trial=trial, epoch=chance.randint(1, 6), attempts=[1]) for trial in doomed}
    sweep = Sweep(
        tmp_path,
        storage=str(tmp_path / "runs"),
        text=TEXT.replace("max_trials: 4", f"max_trials: {num_trials}")
        + "failures: {max_retries: 20, abort_if_failed_fraction: 1}\n",
        faults=[gate.fault for gate in gates.values()],
    )
    process = sweep.start()
    sweep.wait_for("t0001 FINISHED", process=process)
    driver, sizes = psutil.Process(process.pid), []
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):  # it may have ended a moment ago
            sizes.append((driver.memory_info().rss / 2**20, driver.num_fds()))
        for trial in [trial for trial in doomed if trial in gates[trial].held()]:
            doomed.remove(trial)
            psutil.Process(gates[trial].held()[trial]).kill()
        time.sleep(0.5)
    code = process.wait()
    records = check_invariants(sweep, num_trials=num_trials, exit_code=code)
    assert doomed == []
    assert sorted(name for name, r in records.items() if r.num_failures) == sorted(gates)
    first, last = sizes[len(sizes) // 4], sizes[-1]
    assert last[0] - first[0] < 60, sizes
    assert last[1] - first[1] < 40, sizes
