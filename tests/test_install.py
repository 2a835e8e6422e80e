"""Installs into fresh environments, small and whole: `pytest -m install`. Gigabytes, so not run otherwise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.install, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
TRAINS = ["train", "image", "data.max_side=8", "network.hidden.width=2", "training.max_epochs=1", "--to", "pack"]

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a program of a fresh environment in an empty folder; returns its output."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)

    def run(program: str, *arguments: str) -> str:
        command = [str(tmp_path / "venv" / "bin" / program), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    return run


def check(run: Run) -> None:
    """Everything imports, trains, and upstream builds a network."""
    assert "image" in run("hoir", "tasks")
    run("hoir", *TRAINS)
    assert "HighOrderMLP(" in run("hoir", "export", "pack", "--format", "upstream", "--out", "weights.pt")
    run("python", "-c", "import high_order_layers_torch.networks, lightning.pytorch, ray.tune, wandb")


def test_a_small_install_needs_no_cuda(run: Run) -> None:
    """Torch of the lock first, torchvision too where TORCH_INDEX_URL names an index that has both for the CPU."""
    torch = re.findall(r"^torch==.*$", LOCK, re.MULTILINE)[0]
    index = os.environ.get("TORCH_INDEX_URL")
    if index:
        run("pip", "install", "--quiet", "--index-url", index, torch, "torchvision")
        run("pip", "install", "--quiet", str(ROOT))
    else:
        run("pip", "install", "--quiet", torch)
        run("pip", "install", "--quiet", "--no-deps", "--requirement", str(ROOT / "requirements.lock"))
        run("pip", "install", "--quiet", "--no-deps", str(ROOT))
    assert "None" in run("python", "-c", "import torch; print(torch.version.cuda)")
    assert "nvidia" not in run("pip", "list")
    check(run)


def test_a_plain_install_works(run: Run) -> None:
    """Whatever pip chooses by itself, with torch's and torchvision's CUDA builds on Linux."""
    run("pip", "install", "--quiet", str(ROOT))
    run("python", "-c", "import torch, torchvision.ops")
    check(run)
