"""The commands as a user types them: what they print, their exit codes, and one clear line for every mistake."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from PIL import Image

SWEEP = """\
name: small
task: image
data: {image: photo.png}
metric: {name: val_psnr_db, goal: maximize}
parameters:
  network.layer_type: {values: [continuous, fourier]}
  network.input.segments: {when: {network.layer_type: continuous}, values: [4, 8]}
  network.hidden.width: {min: 4, max: 8}
  training.max_epochs: {value: 2}
budget: {max_trials: 2}
"""


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.effect_noise((16, 12), 50).convert("RGB").save(path)
    return path


@pytest.fixture
def sweep(tmp_path, photo):
    path = tmp_path / "small.yaml"
    path.write_text(SWEEP)
    return path


def test_help_teaches(hoir):
    outcome = hoir("--help")
    assert outcome.code == 0
    for command in ("sweep", "validate", "train", "trials", "best", "pull", "render", "evaluate", "tasks", "doctor"):
        assert command in outcome.out


def test_help_and_validate_need_no_torch():
    code = (
        "import sys; sys.argv = ['hoir', 'tasks'];\n"
        "import hoir_ray.cli.main\n"
        "try: hoir_ray.cli.main.main()\n"
        "except SystemExit: pass\n"
        "import hoir_ray.sweep.planning.plan\n"
        "assert not {'torch', 'ray', 'optuna', 'lightning', 'pandas', 'boto3'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_validate_tells_what_a_sweep_amounts_to(hoir, sweep):
    outcome = hoir("validate", sweep)
    assert outcome.code == 0, outcome.err
    assert "is a valid sweep" in outcome.out
    facts = json.loads(hoir("validate", sweep, "--json").out)
    assert facts["smallest_network"] < facts["largest_network"]
    assert facts["warnings"] == []


def test_validate_can_build_what_it_has_counted(hoir, sweep):
    facts = json.loads(hoir("validate", sweep, "--build", "--json").out)
    assert facts["measured"]["smallest"]["num_parameters"] == facts["smallest_network"]
    assert facts["measured"]["largest"]["num_parameters"] == facts["largest_network"]


def test_a_parameter_that_changes_nothing_is_warned_of(hoir, sweep):
    sweep.write_text(SWEEP.replace("{when: {network.layer_type: continuous}, values: [4, 8]}", "{values: [4, 8]}"))
    outcome = hoir("validate", sweep)
    assert outcome.code == 0
    assert "network.input.segments: changes nothing" in outcome.err


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("task: image", "task: imge", "unknown task 'imge'. Did you mean 'image'?"),
        ("name: val_psnr_db", "name: val_psnr", "Did you mean 'val_psnr_db'?"),
        ("network.hidden.width:", "network.hidden.widht:", "Did you mean"),
        ("min: 4, max: 8", "min: 8, max: 4", "'min' must not be above 'max'"),
        ("min: 4, max: 8", "min: 0, max: 4, distribution: log_uniform_values", "above zero"),
        ("network.layer_type: continuous", "network.layer_type: continous", "never holds"),
        ("network.layer_type: continuous", "network.hidden.width: 4.5", "never holds"),
        ("budget:", "trackers: {tensorbord: {}}\nbudget:", "Did you mean 'tensorboard'?"),
        ("budget:", "constraints: [val_psnr > 3]\nbudget:", "unknown metric 'val_psnr'"),
        ("image: photo.png", "image: photo.png, max_sid: 3", "Did you mean 'max_side'?"),
        ("image: photo.png", "image: photo.png, max_side: 1", "data.max_side"),
        ("name: small", "name: ../small", "name: must be"),
        ("budget:", "resources: {gpus: 4}\nbudget:", "use workers: 4 with gpus: 1"),
    ],
)
def test_a_wrong_sweep_is_one_line_with_its_place(hoir, sweep, old, new, expected):
    assert old in SWEEP
    sweep.write_text(SWEEP.replace(old, new))
    outcome = hoir("validate", sweep)
    assert outcome.code == 2
    assert expected in outcome.err
    assert "small.yaml:" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_cycle_of_conditions_is_named(hoir, sweep):
    text = SWEEP.replace("values: [continuous, fourier]", "when: {network.input.segments: 4}, values: [continuous]")
    sweep.write_text(text)
    outcome = hoir("validate", sweep)
    assert outcome.code == 2
    assert "goes round in a circle" in outcome.err


def test_resources_that_cannot_fit_here_are_warned_of(hoir, sweep):
    outcome = hoir("validate", sweep, "--set", "resources.cpus=4000")
    assert outcome.code == 0
    assert "resources.cpus: a trial asks for 4000 CPUs" in outcome.err


@pytest.mark.parametrize("command", ["trials", "best"])
def test_a_sweep_that_is_not_there(hoir, command):
    outcome = hoir(command, "nothing")
    assert outcome.code == 2
    assert "no sweep at" in outcome.err


def test_pull_and_render_of_what_is_not_there(hoir, tmp_path):
    assert hoir("pull", "nothing", "--to", "x").code == 2
    outcome = hoir("render", tmp_path / "missing", "--out", "x.png")
    assert outcome.code == 2
    assert "no such model pack" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "imag"], "Did you mean 'image'?"),
        (["train", "image", "data.image=missing.png"], "missing.png"),
        (["train", "image", "network.hiden.width=3"], "network.hiden: unknown key. Did you mean 'hidden'?"),
        (["train", "image", "network.hidden.width=wide"], "got 'wide'"),
        (["train", "image", "training.optimizer.name=adam", "training.optimizer.hessian_power=1"], "hessian_power"),
        (["train", "image", "width"], "a setting is written a.b=value"),
        (["train", "image", "network.layer_type=baseline"], "'linear'"),
        (["train", "image", "network.layer_type=switch"], "network.layer_type"),
    ],
)
def test_a_wrong_training_request_is_one_line(hoir, arguments, expected):
    outcome = hoir(*arguments)
    assert outcome.code == 2
    assert expected in outcome.err
    lines = outcome.err.splitlines()
    assert [line for line in lines if line.startswith("error:")] == lines[-1:]


def test_unknown_flags_and_missing_arguments_are_usage_errors(hoir, sweep):
    assert hoir("validate", sweep, "--jsn").code == 2
    assert hoir("pull", "x").code == 2
    assert hoir("nonsense").code == 2


@pytest.fixture
def pack(hoir, photo, tmp_path):
    settings = ["data.image=photo.png", "network.layer_type=fourier", "training.max_epochs=3", "network.hidden.width=8"]
    outcome = hoir("train", "image", *settings, "--to", "pack")
    assert outcome.code == 0, outcome.err
    assert "next: hoir render pack" in outcome.out
    return tmp_path / "pack"


def test_train_leaves_a_pack_that_renders_and_evaluates(hoir, pack, tmp_path):
    assert sorted(p.name for p in pack.iterdir()) == [
        "config.json",
        "manifest.json",
        "metrics.json",
        "model.safetensors",
        "preview.png",
    ]
    assert hoir("render", pack, "--out", "big.png", "--size", "64x48").code == 0
    with Image.open(tmp_path / "big.png") as picture:
        assert picture.size == (64, 48)
    own = json.loads(hoir("evaluate", pack, "--json").out)
    kept = json.loads((pack / "metrics.json").read_text())
    assert own["val_psnr_db"] == pytest.approx(kept["val_psnr_db"], abs=1e-3)
    Image.new("RGB", (16, 12), "white").save(tmp_path / "white.png")
    assert json.loads(hoir("evaluate", pack, "--image", "white.png", "--json").out) != own


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--size", "0x5"], "size"),
        (["--size", "big"], "size"),
        (["--caption", "a newt"], "task 'image' does not take it"),
        (["--num-frames", "3"], "does not take it"),
    ],
)
def test_render_refuses_what_the_task_does_not_take(hoir, pack, arguments, expected):
    outcome = hoir("render", pack, "--out", "x.png", *arguments)
    assert outcome.code == 2
    assert expected in outcome.err


def test_render_refuses_an_unknown_kind_of_picture(hoir, pack):
    outcome = hoir("render", pack, "--out", "x.bmpp")
    assert outcome.code == 2
    assert "x.bmpp" in outcome.err


def test_a_damaged_pack_is_refused(hoir, pack):
    weights = pack / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    outcome = hoir("render", pack, "--out", "x.png")
    assert outcome.code == 2
    assert "damaged" in outcome.err


def test_train_does_not_write_over_anything(hoir, pack):
    outcome = hoir("train", "image", "data.image=photo.png", "--to", pack)
    assert outcome.code == 2
    assert "not an empty folder" in outcome.err


def test_tasks_and_doctor(hoir, tmp_path):
    tasks = json.loads(hoir("tasks", "--json").out)
    assert "image" in [t["task"] for t in tasks]
    assert "data.image" in next(t for t in tasks if t["task"] == "image")["data"]
    outcome = hoir("doctor", "--storage", tmp_path / "store")
    assert outcome.code == 0
    assert "list and delete work" in outcome.out
    (tmp_path / "file").write_text("")
    assert hoir("doctor", "--storage", tmp_path / "file").code == 1
