"""Signals as launchers send them, and deaths of Ray's own processes: the sweep ends within seconds, in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hoir_ray.results.record import ENDED
from tests.faults.sweeps import Sweep

SLOW = [{"trial": "*", "do": "sleep", "seconds": 3.0}]
END_S = 240.0  # on a busy machine; what is tested is the end, not its speed


def a_sweep(folder: Path) -> Sweep:
    return Sweep(folder, storage=str(folder / "runs"), faults=SLOW)


def is_free(sweep: Sweep) -> bool:
    return '"released": true' in (Path(sweep.storage) / "tiny" / "lock.json").read_text()


def _terminate(processes: list[psutil.Process]) -> None:
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended by itself meanwhile
            each.terminate()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("whom", ["group", "all"])
def test_sigterm_to_everybody_ends_in_order(tmp_path: Path, whom: str) -> None:
    """As `timeout` sends it to a process group, and scancel or systemd to each process."""
    sweep = a_sweep(tmp_path)
    process = sweep.start()
    sweep.wait_for(" started", process=process)
    if whom == "group":
        os.killpg(process.pid, signal.SIGTERM)
    else:
        _terminate(sweep.processes())
    assert process.wait(timeout=END_S) == 130, sweep.log
    assert "Check failed" not in sweep.log
    assert ".cc:" not in sweep.log
    assert is_free(sweep)
    assert {r.state for r in sweep.opened().records} <= {"PENDING", *ENDED}
    assert sweep.left_behind() == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("born", ["gcs_server", "raylet/raylet"])
def test_sigterm_to_everybody_while_ray_starts(tmp_path: Path, born: str) -> None:
    sweep = a_sweep(tmp_path)
    process = sweep.start()
    sweep.wait_until(lambda: sweep.processes(named=born), process=process)
    _terminate(sweep.processes())
    assert process.wait(timeout=END_S) == 130, sweep.log
    assert ".cc:" not in sweep.log
    assert is_free(sweep)
    assert sweep.left_behind() == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", ["raylet/raylet", "gcs_server"])
def test_a_death_of_rays_own_ends_the_sweep_with_a_reason(tmp_path: Path, victim: str) -> None:
    sweep = a_sweep(tmp_path)
    process = sweep.start()
    sweep.wait_for(" started", process=process)
    sweep.wait_until(lambda: bool(sweep.processes(named=victim)), process=process)
    sweep.processes(named=victim)[0].kill()
    assert process.wait(timeout=END_S) == 1, sweep.log
    assert "has died; the same command resumes" in sweep.log
    assert is_free(sweep)
    assert sweep.left_behind() == []


def train(folder: Path, *settings: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hoir_ray", "train", "image", "data.max_side=16", *settings, "--to", "pack"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_says_so_and_what_is_kept(tmp_path: Path, number: int) -> None:
    process = train(tmp_path, "training.max_epochs=1000000", "--tracker", "jsonl")
    rows = tmp_path / "pack" / "trackers" / "jsonl" / "image" / "metrics.jsonl"
    end = time.monotonic() + 120
    while not rows.exists() and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "interrupted after epoch " in errors
    assert " of 1000000; the best so far, that of epoch " in errors
    assert (tmp_path / "pack" / "manifest.json").is_file()


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hoir_ray", "tasks"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr as stderr:
        assert (stderr.read(), process.wait(timeout=60)) == ("", 1)
    closed = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m hoir_ray tasks >&-"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (closed.stderr, closed.returncode) == ("", 0)
