"""Trials that die, hang, run out of time or memory in one sweep on S3, watched in W&B: each ends as promised."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.gates import Gate
from tests.faults.invariants import check_invariants
from tests.faults.sweeps import TEXT, Sweep
from tests.servers.seaweedfs import OWNER, SeaweedFS
from tests.servers.wandb_backend import KEY, WandbBackend

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

FAILURES = """\
failures:
  max_retries: 1
  hang_timeout: 25s
  trial_timeout: 60s
  memory_limit: 700MiB
  abort_if_failed_fraction: 1
"""
MIB = 2**20
FAULTS = [
    {"trial": "t0001", "do": "SIGKILL", "epoch": 3, "attempts": [1]},
    {"trial": "t0002", "do": "SIGSEGV", "epoch": 2},
    {"trial": "t0003", "do": "exit", "epoch": 1, "attempts": [1]},
    {"trial": "t0004", "do": "allocate", "size_bytes": 4 * MIB, "per_sample": True, "epoch": 2},
    {"trial": "t0005", "do": "allocate", "size_bytes": 1000 * MIB, "epoch": 2},
    {"trial": "t0006", "do": "hang_python", "epoch": 3, "attempts": [1]},
    {"trial": "t0007", "do": "hang_native", "epoch": 2, "attempts": [1]},
    {"trial": "t0007", "do": "hang_native", "epoch": 3, "attempts": [2]},  # an epoch after the one it resumes from
    {"trial": "t0008", "do": "sleep", "seconds": 13},
    {"trial": "t0009", "do": "raise", "message": "a canary: gold-canary-51", "epoch": 2, "attempts": [1]},
]
ENVIRONMENT = {"MY_TOKEN": "environment-canary-2290"}


def test_every_trial_ends_as_promised(
    tmp_path: Path, s3_server: SeaweedFS, s3_bucket: str, wandb_backend: WandbBackend
) -> None:
    gate = Gate(tmp_path, trial="t0006", epoch=3, attempts=[1])  # where it then hangs
    sweep = Sweep(
        tmp_path,
        storage=f"s3://{s3_bucket}/sweeps",
        endpoint_url=s3_server.endpoint_url,
        text=TEXT.replace("max_trials: 4", "max_trials: 10").replace("trackers: {}", "trackers: {jsonl: {}, wandb: {}}")
        + FAILURES,
        faults=[gate.fault, *FAULTS],
        checkpoint_every_s=0,
        environment={**ENVIRONMENT, **wandb_backend.environment},
    )
    process = sweep.start()
    sweep.wait_until(lambda: 2 in sweep.checkpoints("t0006"), process=process, timeout_s=600)
    gate.open()
    code = process.wait(timeout=600)
    records = check_invariants(
        sweep,
        num_trials=10,
        exit_code=code,
        secrets=[OWNER.secret_key, KEY, *ENVIRONMENT.values()],
        backend=wandb_backend,
    )
    assert code == 3
    states = {name: r.state for name, r in records.items()}
    assert states == {
        "t0001": "FINISHED",
        "t0002": "FAILED",
        "t0003": "FINISHED",
        "t0004": "FINISHED",
        "t0005": "OOM",
        "t0006": "FINISHED",
        "t0007": "TIMEOUT",
        "t0008": "TIMEOUT",
        "t0009": "FINISHED",
        "t0010": "FINISHED",
    }, sweep.log
    assert [records[f"t{n:04d}"].attempt for n in (1, 2, 3, 6, 7, 8, 9, 10)] == [2, 2, 2, 2, 2, 1, 2, 1]
    assert records["t0004"].batch_size == 128
    assert "worker process died" in records["t0002"].reason
    assert "memory_limit 700 MiB" in records["t0005"].reason
    assert "hang_timeout" in records["t0007"].reason
    assert "trial_timeout" in records["t0008"].reason
    assert any("resumes after epoch 2" in line for line in records["t0006"].history)
    assert "Traceback" not in sweep.log
    assert "1 x took longer than failures.trial_timeout" in sweep.log
    _check_runs(wandb_backend, {name: r.epochs for name, r in records.items() if r.state == "FINISHED"})


def _check_runs(backend: WandbBackend, epochs: dict[str, int]) -> None:
    """One run per trial, each epoch in it once."""
    runs = {run.upsert["displayName"]: run for run in backend.runs.values()}
    for trial, last in epochs.items():
        steps = [row["epoch"] for row in runs[trial].history if "val_psnr_db" in row]
        assert steps == list(range(1, last + 1)), (trial, steps)
