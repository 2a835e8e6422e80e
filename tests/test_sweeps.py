"""The sweeps that the project ships: each is valid, and each task's runs through the real thing, cut down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hoir_ray.results.sweep_results import open_sweep
from hoir_ray.spec.load import load_spec
from hoir_ray.storage import open_storage
from hoir_ray.sweep.planning.plan import plan_sweep

SWEEPS = Path(__file__).parent.parent / "sweeps"
CUT = ["budget.max_trials=2", "training.max_epochs=1", "early_terminate={type: none}", "resources.concurrent_trials=1"]


@pytest.mark.parametrize("path", sorted(SWEEPS.rglob("*.yaml")), ids=lambda p: str(p.relative_to(SWEEPS)))
def test_every_sweep_is_valid_and_warns_of_nothing(path):
    spec, document = load_spec(path)
    plan = plan_sweep(spec, document)
    assert plan.warnings == ()
    assert plan.smallest.num_parameters < plan.largest.num_parameters


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["quickstart", "small/neighborhood", "small/text_to_image", "small/random_interpolation"]
)
def test_every_task_sweeps(name, tmp_path):
    settings = [f"--set={text}" for text in [*CUT, f"storage.uri={tmp_path / 'store'}"]]
    command = [sys.executable, "-m", "hoir_ray", "sweep", str(SWEEPS / f"{name}.yaml"), *settings]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    spec, _ = load_spec(SWEEPS / f"{name}.yaml")
    sweep = open_sweep(open_storage(str(tmp_path / "store")).child(spec.name))
    assert [r.state for r in sweep.records] == ["FINISHED"] * 2
    for record in sweep.records:
        assert record.best is not None
        assert spec.metric.name in record.best
        assert sweep.storage.exists(f"{record.model}/preview.png")
