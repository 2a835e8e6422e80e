"""W&B out of order for a whole sweep: the same training, and everything sent later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hoir_ray.sweep.planning.plan import plan_sweep
from hoir_ray.tasks import load_task
from hoir_ray.tasks.fit import fit
from tests.faults.invariants import check_invariants
from tests.faults.sweeps import TEXT, Sweep
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.wandb_backend import KEY, WandbBackend

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_an_outage_changes_nothing_and_is_made_up_for_later(
    tmp_path: Path, s3_server: SeaweedFS, s3_bucket: str, wandb_backend: WandbBackend
) -> None:
    storage = f"s3://{s3_bucket}/sweeps"
    sweep = Sweep(
        tmp_path,
        storage=storage,
        endpoint_url=s3_server.endpoint_url,
        text=TEXT.replace("max_trials: 4", "max_trials: 2").replace(
            "trackers: {}", "trackers: {wandb: {finish_timeout_s: 10}}"
        ),
        environment=wandb_backend.environment,
    )
    with wandb_backend.faulty(status=500):
        code = sweep.run()
    records = check_invariants(sweep, num_trials=2, exit_code=code, secrets=[KEY], backend=wandb_backend)
    assert code == 0
    assert not wandb_backend.runs
    assert records["t0001"].best is not None
    assert _trained_here(sweep, "t0001") == pytest.approx(records["t0001"].best["val_psnr_db"], abs=1e-4)

    command = [sys.executable, "-m", "hoir_ray", "sync", f"{storage}/tiny", "--endpoint-url", s3_server.endpoint_url]
    sent = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert sent.returncode == 0, sent.stderr
    assert "sent 3 runs" in sent.stdout
    names = {run.upsert["displayName"]: run for run in wandb_backend.runs.values()}
    assert {"t0001", "t0002"} < set(names)
    epochs = [row["epoch"] for row in names["t0001"].history if "val_psnr_db" in row]
    assert epochs == list(range(1, 7))
    again = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert "nothing left to send" in again.stdout


def test_a_sweep_makes_its_view_and_report_once(tmp_path: Path, wandb_backend: WandbBackend) -> None:
    sweep = Sweep(
        tmp_path,
        storage=str(tmp_path / "runs"),
        text=TEXT.replace("max_trials: 4", "max_trials: 1").replace("trackers: {}", "trackers: {wandb: {project: p}}"),
        environment=wandb_backend.environment,
    )
    assert sweep.run() == 0, sweep.log
    first = _addresses(sweep)
    assert [line.split(" of ")[0] for line in first] == ["W&B: view", "W&B: report"], sweep.log
    assert all(f" {wandb_backend.url}/hoir/p" in line for line in first)
    assert sorted(view.type for view in wandb_backend.views.values()) == ["project-view", "runs"]
    assert sweep.run("--add-trials", "1") == 0, sweep.log
    assert _addresses(sweep)[-2:] == first
    assert {view.type: view.num_saved for view in wandb_backend.views.values()} == {"project-view": 1, "runs": 2}
    assert KEY not in sweep.log


def test_a_view_that_cannot_be_made_changes_nothing(tmp_path: Path, wandb_backend: WandbBackend) -> None:
    sweep = Sweep(
        tmp_path,
        storage=str(tmp_path / "runs"),
        text=TEXT.replace("max_trials: 4", "max_trials: 1").replace(
            "trackers: {}", "trackers: {wandb: {finish_timeout_s: 15}}"
        ),
        environment=wandb_backend.environment,
    )
    with wandb_backend.faulty("UpsertView2|upsertView", hang_s=300):
        code = sweep.run()
    check_invariants(sweep, num_trials=1, exit_code=code, secrets=[KEY], backend=wandb_backend)
    assert code == 0
    assert [line for line in sweep.log.splitlines() if "W&B" in line] == [
        f"warning: W&B: no {what}: it was not saved within 15 s. The sweep and its runs are not touched by that."
        for what in ("view", "report")
    ]
    assert len(wandb_backend.runs) == 2


@pytest.mark.long
def test_without_a_key_one_line_says_so_and_everything_is_sent_later(
    tmp_path: Path, wandb_backend: WandbBackend
) -> None:
    sweep = Sweep(
        tmp_path,
        storage=str(tmp_path / "runs"),
        text=TEXT.replace("max_trials: 4", "max_trials: 2").replace("trackers: {}", "trackers: {wandb: {}}"),
        environment={**wandb_backend.environment, "WANDB_API_KEY": "", "NETRC": str(tmp_path / "none")},
    )
    code = sweep.run()
    check_invariants(sweep, num_trials=2, exit_code=code, secrets=[KEY], backend=wandb_backend)
    assert code == 0
    assert [line for line in sweep.log.splitlines() if "W&B" in line or "wandb" in line.lower()] == [
        f"warning: W&B: no key for {wandb_backend.url}; set WANDB_API_KEY or run `wandb login`. "
        "Runs are kept with the sweep, `hoir sync` sends them."
    ]
    assert not wandb_backend.log
    command = [sys.executable, "-m", "hoir_ray", "sync", str(tmp_path / "runs" / "tiny")]
    sent = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert "sent 3 runs" in sent.stdout, sent.stderr
    models = [a for name, a in wandb_backend.artifacts.items() if name.endswith("-models")]
    assert [a.is_committed for a in models] == [True]


def test_a_refused_key_is_said_before_anything_starts(tmp_path: Path, wandb_backend: WandbBackend) -> None:
    sweep = Sweep(
        tmp_path,
        storage=str(tmp_path / "runs"),
        text=TEXT.replace("trackers: {}", "trackers: {wandb: {}}"),
        environment=wandb_backend.environment,
    )
    with wandb_backend.faulty(status=401):
        assert sweep.run() == 2, sweep.log
    assert "refused the key" in sweep.log
    assert KEY not in sweep.log
    assert " started" not in sweep.log


def _addresses(sweep: Sweep) -> list[str]:
    return [line for line in sweep.log.splitlines() if line.startswith("W&B: ")]


def _trained_here(sweep: Sweep, trial: str) -> float:
    """The trial's result without Ray, storage or trackers."""
    opened = sweep.opened()
    config = plan_sweep(opened.spec).config(opened.trial(trial).parameters)
    task = load_task("image")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        data = task.data(config)
        _, outcome = fit(task, config, data)
    finally:
        torch.set_num_threads(threads)
    return outcome.best_metrics["val_psnr_db"]
