"""Runs `hoir` inside the test's process, as its entry point does, and returns what a shell would see."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from hoir_ray.cli import main as cli
from hoir_ray.machine.interrupt import NATIVE_THREAD


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Hoir = Callable[..., Outcome]


@pytest.fixture
def hoir(monkeypatch, capsys, tmp_path) -> Hoir:
    """`hoir("validate", "x.yaml")`, in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["hoir", *map(str, arguments)])
        capsys.readouterr()
        # Beside one, the entry point ends its process at once, and this is the process that runs the tests.
        assert NATIVE_THREAD not in {thread.name for thread in threading.enumerate()}
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Outcome(int(end.value.code or 0), captured.out, captured.err)

    return run
