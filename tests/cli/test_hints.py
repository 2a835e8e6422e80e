"""Commands that are named to be typed do what they say: those that were typed, quoted for a shell, or none."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from hoir_ray.cli.options import typed_command
from hoir_ray.cli.terminal.results import print_best, print_outcome, sweep_address
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
    (typed,) = shlex.split(sweep_address(made))
    assert open_sweep(typed).storage.uri == made.storage.uri
    monkeypatch.chdir(made.storage.uri + "/..")
    (typed,) = shlex.split(sweep_address(made))
    assert open_sweep(typed).storage.uri == made.storage.uri


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
