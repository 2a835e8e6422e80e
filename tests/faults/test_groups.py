"""Trials of two workers that train one network: pruned, failing, dying and hanging, and what they had is given back."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoir_ray.sweep.planning.plan import plan_sweep
from hoir_ray.tasks import load_task
from hoir_ray.tasks.fit import fit
from hoir_ray.training.loop import Epoch, Hooks
from tests.faults.invariants import check_invariants
from tests.faults.sweeps import TEXT, Sweep

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

GROUPS = """\
resources: {workers: 2, cpus: 1}
early_terminate: {type: asha, min_iter: 2, eta: 2}
failures: {hang_timeout: 20s, max_retries: 1}
"""
FAULTS = [
    {"trial": "*", "do": "sleep", "seconds": 0.5},
    {"trial": "t0002", "rank": 1, "do": "SIGKILL", "epoch": 1, "attempts": [1]},
    {"trial": "t0003", "rank": 1, "do": "raise", "message": "one of two", "epoch": 1, "attempts": [1]},
    {"trial": "t0004", "rank": 1, "do": "hang_python", "epoch": 1, "attempts": [1]},
]


def test_groups_end_as_promised_and_leave_room_for_the_next(tmp_path: Path) -> None:
    """There is room for one trial at a time, so each starts only when the one before has given everything back."""
    sweep = Sweep(
        tmp_path,
        storage=str(tmp_path / "runs"),
        text=TEXT.replace("max_trials: 4", "max_trials: 5") + GROUPS,
        faults=FAULTS,
    )
    code = sweep.run("--set", "resources.concurrent_trials=1", timeout_s=1200)
    records = check_invariants(sweep, num_trials=5, exit_code=code)
    assert code == 0, sweep.log
    assert "PRUNED" in {r.state for r in records.values()}, "or a stop by the sweep is not tested"
    attempts = {name: (r.attempt, r.num_failures) for name, r in records.items()}
    assert attempts == {"t0001": (1, 0), "t0002": (2, 1), "t0003": (2, 1), "t0004": (2, 1), "t0005": (1, 0)}
    assert any("worker process died" in line for line in records["t0002"].history)
    assert any("RuntimeError: one of two" in line for line in records["t0003"].history)
    assert any("failures.hang_timeout" in line for line in records["t0004"].history)
    assert any("2 workers train on batches of 256 together, 128 samples each" in h for h in records["t0001"].history)
    assert records["t0001"].node.count("process") == 2
    _check_trained_as_one(sweep, "t0001")


def _check_trained_as_one(sweep: Sweep, trial: str) -> None:
    """The same curve as one worker's with the same batches."""
    opened = sweep.opened()
    record = opened.trial(trial)
    config = plan_sweep(opened.spec).config(record.parameters)
    task = load_task("image")
    data = task.data(config)
    alone: list[Epoch] = []
    fit(task, config, data, Hooks(on_epoch=alone.append))
    assert record.epochs == len(alone), "the first trial is never stopped"
    for row, epoch in zip(record.curve, alone, strict=True):
        assert row["train_loss"] == pytest.approx(epoch.metrics["train_loss"], rel=1e-3)
        assert row["val_psnr_db"] == pytest.approx(epoch.metrics["val_psnr_db"], abs=0.02)
