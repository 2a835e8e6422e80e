"""Hosts for the recipes: an environment with hoir and Ray, and a short folder for a node's sockets."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hoir_ray.results.sweep_results import open_sweep
from hoir_ray.storage import open_storage

PROJECT = Path(__file__).parents[2]
SWEEP = """\
name: tiny
task: image
data: {image: sample:astronaut, max_side: 32}
method: random
metric: {name: val_psnr_db, goal: maximize}
parameters:
  network.hidden.width: {min: 4, max: 8}
  training.max_epochs: {value: 2}
budget: {max_trials: 2}
trackers: {}
storage: {uri: runs}
"""


class Site:
    """A place where a cluster is brought up: `folder` for the test's files, `home` for its nodes."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home
        (folder / "sweep.yaml").write_text(SWEEP)
        commands = folder / "venv" / "bin"
        commands.mkdir(parents=True)
        here = f"PYTHONPATH={PROJECT}${{PYTHONPATH:+:$PYTHONPATH}}"
        # The interpreter that runs the tests, with the code of this checkout wherever it is installed from.
        write_program(commands / "python", f'{here} exec {sys.executable} "$@"')
        for name in ("ray", "hoir"):
            write_program(commands / name, f'{here} exec {Path(sys.executable).parent / name} "$@"')
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "HOIR_VENV": str(folder / "venv"),
        }

    def states(self) -> list[str]:
        """Return the states in which the trials ended."""
        storage = open_storage(str(self.folder / "runs")).child("tiny")
        return [record.state for record in open_sweep(storage).records]

    def left_behind(self) -> list[str]:
        """Command lines of processes that know this site's nodes."""
        lines = []
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or [])
            lines += [line[:120]] if str(self.home) in line else []
        return lines


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    home = Path(tempfile.mkdtemp(prefix="hoir", dir="/tmp"))  # sockets' paths are limited to about 100 characters
    yield Site(tmp_path, home)
    shutil.rmtree(home)
