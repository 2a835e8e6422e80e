"""Commands that are named to be typed do what they say: those that were typed, quoted for a shell, or none."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from hoir_ray.cli.options import typed_command
from hoir_ray.cli.terminal.console import sweep_address
from hoir_ray.cli.terminal.results import print_best, print_outcome
from hoir_ray.results.sweep_results import SweepResults, open_sweep
from tests.report.made import made_sweep


def test_a_command_is_named_with_all_that_was_typed():
    command = typed_command("sweep", Path("my sweeps/a.yaml"), ["data.image=a b.png", "seed=1"], address="auto")
    assert shlex.split(command) == [
        *("hoir", "sweep", "my sweeps/a.yaml", "--set=data.image=a b.png", "--set=seed=1", "--address", "auto")
    ]
    assert typed_command("sweep", Path("a.yaml"), None) == "hoir sweep a.yaml"


@pytest.mark.parametrize("folder", ["my runs; rm x", "plain", "hoir-runs"])
def test_an_address_opens_the_same_sweep_again(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = made_sweep(tmp_path / folder, num_trials=3, pictures=False)
    (typed,) = shlex.split(sweep_address(made.storage))
    assert open_sweep(typed).storage.uri == made.storage.uri
    monkeypatch.chdir(made.storage.uri + "/..")
    (typed,) = shlex.split(sweep_address(made.storage))
    assert open_sweep(typed).storage.uri == made.storage.uri


@pytest.mark.parametrize("root", ["hoir-runs", "my runs", "."])
@pytest.mark.parametrize("name", ["made", "my sweep", "-made", "a;b", "x[red]"])
def test_the_next_command_can_be_pasted(hoir, tmp_path, root, name):
    made = made_sweep(tmp_path / root, num_trials=6).storage
    for number in (1, 4):
        (tmp_path / "pack").mkdir(exist_ok=True)
        (tmp_path / "pack" / "model").write_bytes(b"weights")
        made.put_folder(f"models/t{number:04d}", tmp_path / "pack")
    Path(made.uri).rename(tmp_path / root / name)
    (tmp_path / "t0004-model").mkdir()  # in the way of what is named first
    shown = hoir("sweeps", root).out
    for _ in range(3):  # the table, the best trial, its pack
        command = shown.rpartition("next: ")[2].splitlines()[0]
        words = shlex.split(command)
        if words[1] == "render":
            assert Path(words[2]).is_dir()
            return
        ended = hoir(*words[1:])
        assert ended.code == 0, (command, ended.err)
        shown = ended.out
    raise AssertionError(shown)


@pytest.mark.parametrize("to", ["again", "elsewhere/again", "my copies/"])
def test_a_copy_is_named_as_it_is_opened(hoir, tmp_path, to):
    made_sweep(tmp_path / "hoir-runs", num_trials=3)
    shown = hoir("copy", "made", to).out
    words = shlex.split(shown.rpartition("next: ")[2])
    assert hoir("validate", *words[2:]).code == 0


def test_a_sweep_without_results_is_looked_at_by_its_trials(hoir, tmp_path):
    made = made_sweep(tmp_path / "hoir-runs", num_trials=2).storage
    made.delete("ledger/t0001.json")
    made.child("x").put("spec.yaml", b"name: [")
    shown = hoir("sweeps").out
    assert "next: hoir trials made" in shown
    Path(made.uri, "spec.yaml").write_text("name: [")
    assert "next:" not in hoir("sweeps").out


def test_what_is_not_there_is_not_named(tmp_path, capsys):
    made = made_sweep(tmp_path, num_trials=6, pictures=False)
    print_outcome(made, stop_reason="storage failed", command="hoir sweep x.yaml", is_saved=False)
    shown = capsys.readouterr().out
    assert "best picture" not in shown
    assert "hoir pull" not in shown
    bare = SweepResults(made.storage, made.spec, tuple(r.change(model=None) for r in made.records))
    print_outcome(bare, stop_reason=None, command=None)
    print_best(bare, pareto=False, where=None, top=3, as_json=False)
    assert "hoir pull" not in capsys.readouterr().out
    print_outcome(made, stop_reason=None, command=None)
    shown = capsys.readouterr().out
    assert "best picture" not in shown  # none was kept
    assert "hoir pull" in shown
