"""A machine of a cluster lost in the middle of a trial: it goes on elsewhere, and nobody is blamed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.cluster import Cluster
from tests.faults.gates import Gate
from tests.faults.invariants import check_invariants
from tests.faults.sweeps import TEXT, Sweep

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_a_trial_outlives_its_machine(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 4)
    token.chmod(0o600)
    ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_memory_monitor_refresh_ms": "0"}
    gate = Gate(tmp_path)
    sweep = Sweep(
        tmp_path,
        storage=str(tmp_path / "runs"),
        text=TEXT.replace("max_trials: 4", "max_trials: 3") + "failures: {max_retries: 0}\n",
        faults=[gate.fault],
        checkpoint_every_s=0,
        environment=ray,
    )
    with Cluster(tmp_path, environment={**os.environ, **sweep.settings()}) as cluster:
        process = sweep.start("--address", cluster.address)
        for trial in ("t0001", "t0002"):  # one on each machine
            sweep.wait_until(lambda t=trial: t in gate.held() and 2 in sweep.checkpoints(t), process=process)
        cluster.replace_a_node()
        gate.open()
        code = process.wait(timeout=400)
        assert code == 0, sweep.log
    records = check_invariants(sweep, num_trials=3, exit_code=code)
    lost = [r for r in records.values() if r.num_preemptions]
    assert [(r.num_preemptions, r.num_failures, r.attempt) for r in lost] == [(1, 0, 2)], sweep.log
    assert any("its machine was lost or cut off" in line for line in lost[0].history)
    assert any("goes on after epoch 2" in line for line in lost[0].history)
