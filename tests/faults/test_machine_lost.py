"""A machine of a cluster lost in the middle of a trial: it goes on elsewhere, and nobody is blamed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.cluster import Cluster
from tests.faults.invariants import check_invariants
from tests.faults.sweeps import TEXT, Sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_trial_outlives_its_machine(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 4)
    token.chmod(0o600)
    ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_memory_monitor_refresh_ms": "0"}
    sweep = Sweep(
        tmp_path,
        storage=str(tmp_path / "runs"),
        text=TEXT.replace("max_trials: 4", "max_trials: 3") + "failures: {max_retries: 0}\n",
        faults=[{"trial": "*", "do": "sleep", "seconds": 2.1}],
        environment=ray,
    )
    with Cluster(tmp_path, environment={**os.environ, **sweep.settings()}) as cluster:
        process = sweep.start("--address", cluster.address)
        sweep.wait_until(lambda: any(epoch >= 2 for es in sweep.epochs().values() for epoch in es), process=process)
        cluster.replace_a_node()
        code = process.wait(timeout=400)
        assert code == 0, sweep.log
    records = check_invariants(sweep, num_trials=3, exit_code=code)
    lost = [r for r in records.values() if r.num_preemptions]
    assert [(r.num_preemptions, r.num_failures, r.attempt) for r in lost] == [(1, 0, 2)], sweep.log
    assert any("its machine was lost or cut off" in line for line in lost[0].history)
    assert any("goes on after epoch" in line for line in lost[0].history)
