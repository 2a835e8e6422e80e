"""The environment of a sweep: files in the current folder, and variables of launchers and schedulers."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoir_ray.packs.train import train_pack
from tests.faults.invariants import check_invariants
from tests.faults.sweeps import TEXT, Sweep

LAUNCHERS = {
    "slurm": {"SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "2", "SLURM_JOB_NAME": "batch"},
    "torchrun": {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "3", "MASTER_ADDR": "nowhere", "MASTER_PORT": "1"}
    | {"GROUP_RANK": "1", "TORCHELASTIC_RUN_ID": "none", "NODE_RANK": "1"},
    "lsf": {"LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "/nowhere", "JSM_NAMESPACE_RANK": "1", "JSM_NAMESPACE_SIZE": "4"}
    | {"JSM_NAMESPACE_LOCAL_RANK": "1"},
    "kubeflow": {"KUBERNETES_PORT": "x", "MASTER_ADDR": "nowhere", "MASTER_PORT": "1", "WORLD_SIZE": "4", "RANK": "2"},
}


@pytest.mark.parametrize("launcher", sorted(LAUNCHERS))
def test_training_on_one_device_takes_no_orders_from_a_scheduler(
    launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in LAUNCHERS[launcher].items():
        monkeypatch.setenv(name, value)
    settings = ["data.max_side=16", "training.max_epochs=2"]
    pack, fit = train_pack("image", settings, to=tmp_path / "pack", trackers=["jsonl"], show=lambda epoch, of: None)
    assert fit.epochs == 2
    assert (pack / "manifest.json").is_file()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_runs_among_the_users_files_and_a_launchers_variables(tmp_path: Path) -> None:
    sweep = Sweep(
        tmp_path,
        storage=str(tmp_path / "runs"),
        text=TEXT.replace("max_trials: 4", "max_trials: 1"),
        environment={
            **LAUNCHERS["slurm"],
            "RAY_TRAIN_V2_ENABLED": "0",
            "RAY_RUNTIME_ENV_HOOK": "nowhere.hook",
            "RAY_JOB_CONFIG_JSON_ENV_VAR": "{",
            "RAY_ADDRESS": "10.255.255.1:6379",
            "LOGNAME": "",
            "HOME": "",
        },
    )
    for name in ("lightning", "pandas", "torch", "numpy", "psutil", "typer"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('a file of the user')\n")
    code = sweep.run(timeout_s=400)
    check_invariants(sweep, num_trials=1, exit_code=code)
    assert code == 0, sweep.log
