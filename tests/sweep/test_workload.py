"""The work, time and room of a sweep are known before it starts, and its data is read then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoir_ray.sweep.planning.rehearsal import rehearse
from hoir_ray.sweep.planning.workload import read_inputs, workload_of
from tests.command import Hoir
from tests.spec.test_spec import GOOD
from tests.sweep.test_starter import picture

SWEEP = """\
name: s
task: image
data: {image: photo.png}
metric: {name: val_psnr_db, goal: maximize}
parameters:
  network.layer_type: {value: continuous}
  network.hidden.width: {min: 4, max: 32}
  training.batch_size: {value: 100}
  training.max_epochs: {values: [2, 7]}
budget: {max_trials: 5}
resources: {concurrent_trials: 1}
"""


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "photo.png")
    (tmp_path / "s.yaml").write_text(SWEEP)
    return tmp_path / "s.yaml"


def test_validate_tells_the_work_and_the_room(hoir: Hoir, sweep: Path) -> None:
    shown = " ".join(hoir("validate", sweep).out.split())
    assert "5 trials of up to 7 epochs, each 12 steps on 1,200 samples" in shown
    assert "not measured; --build runs some steps" in shown
    told = json.loads(hoir("validate", sweep, "--json").out)["workload"]
    assert told["trial_s"] is None
    assert 5 * 9 * 1200 < told["stored_bytes"] < 500_000


def test_what_was_measured_gives_the_time(hoir: Hoir, sweep: Path) -> None:
    told = json.loads(hoir("validate", sweep, "--build", "--json").out)
    low, high = told["workload"]["trial_s"]
    assert (low, high) == (
        pytest.approx(7 * told["measured"]["smallest"]["epoch_s"]),
        pytest.approx(7 * told["measured"]["largest"]["epoch_s"]),
    )
    assert told["workload"]["total_s"] == pytest.approx(5 * ((low + high) / 2 + 0.3))
    assert "of training a trial, 1 at a time on this machine, so" in " ".join(
        hoir("validate", sweep, "--build").out.split()
    )


def test_constraints_decide_which_networks_are_counted(sweep: Path) -> None:
    from hoir_ray.spec.load import load_spec
    from hoir_ray.sweep.planning.plan import plan_sweep

    measured = {"smallest": {"num_parameters": 0.0, "epoch_s": 1.0}, "largest": {"num_parameters": 1e6, "epoch_s": 2.0}}
    sweep.write_text(f"{SWEEP}constraints: [num_parameters <= 500]\n")
    plan = plan_sweep(*load_spec(sweep))
    told = workload_of(plan, num_samples=read_inputs(plan), measured=measured)
    assert told.trial_s is not None
    assert told.trial_s[1] == pytest.approx(7 * (1 + 500 / 1e6))


@pytest.mark.parametrize("where", ["the only one", "one of several that are searched", "in a parquet file"])
def test_a_broken_picture_is_no_valid_sweep(where: str, hoir: Hoir, sweep: Path) -> None:
    broken = sweep.with_name("broken.png")
    broken.write_bytes(sweep.with_name("photo.png").read_bytes()[:200])
    text = SWEEP.replace("photo.png", "broken.png")
    if where == "one of several that are searched":
        text = SWEEP.replace("data: {image: photo.png}\n", "").replace(
            "parameters:\n", f"parameters:\n  data.image: {{values: [{sweep.with_name('photo.png')}, {broken}]}}\n"
        )
    elif where == "in a parquet file":
        broken.write_bytes(b"PAR1")
        text = SWEEP.replace("task: image", "task: text_to_image").replace(
            "{image: photo.png}", "{files: [broken.png], text_model: hashing}"
        )
    sweep.write_text(text)
    outcome = hoir("validate", sweep)
    assert outcome.code == 2, outcome
    assert "broken.png" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_folder_of_broken_pictures_is_no_valid_sweep(hoir: Hoir, tmp_path: Path) -> None:
    for number in range(3):
        whole = picture(tmp_path / f"{number}.png")
        whole.write_bytes(whole.read_bytes()[:200])
    task = "random_interpolation"
    text = GOOD.replace("task: image", f"task: {task}").replace("image: sample:astronaut", f"folder: {tmp_path}")
    (tmp_path / "s.yaml").write_text(text)
    outcome = hoir("validate", tmp_path / "s.yaml")
    assert (outcome.code, "broken or cut off" in outcome.err) == (2, True), outcome


def test_a_sweep_is_measured_whatever_its_task(sweep: Path) -> None:
    from hoir_ray.spec.load import load_spec
    from hoir_ray.sweep.planning.plan import plan_sweep

    root = Path(__file__).parents[2] / "sweeps" / "small"
    for name in ("neighborhood", "random_interpolation"):
        plan = plan_sweep(*load_spec(root / f"{name}.yaml"))
        assert all(found["epoch_s"] > 0 for found in rehearse(plan).values())
