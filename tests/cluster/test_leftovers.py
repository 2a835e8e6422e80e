"""A private Ray whose driver and reaper were killed together is ended and removed by the next one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hoir_ray.cluster import reaper
from hoir_ray.cluster.leftovers import remove_leftovers
from tests.faults.cluster import Cluster
from tests.faults.gates import Gate
from tests.faults.sweeps import TEXT, Sweep, stop_at_once
from tests.servers.wandb_backend import WandbBackend

_DRIVER = """
import sys
from hoir_ray.cluster.cluster import connect
with connect():
    print("up", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_driver_and_reaper_left_is_ended(tmp_path: Path) -> None:
    place = tmp_path / "longer than a name of Ray's sockets may be"
    place.mkdir()
    command = [sys.executable, "-c", _DRIVER]
    settings = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(place)}
    with subprocess.Popen(command, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "up\n"
        (home,) = place.glob("hoir.ray-*")
        remove_leftovers(place)  # a living one is left alone
        processes = [p for p in map(psutil.Process, reaper.users_of(str(home))) if p.pid != driver.pid]
        assert any("raylet" in p.name() for p in processes)
        guards = [p for p in psutil.Process(driver.pid).children() if reaper.__file__ in p.cmdline()]
        assert len(guards) == 1
        guards[0].kill()
        driver.kill()
        driver.communicate()
    assert home.is_dir()
    remove_leftovers(place)
    assert list(place.iterdir()) == []
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Whose path leaves room for Ray's names of sockets."""
    with tempfile.TemporaryDirectory(prefix="hr-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_driver_on_a_cluster_removes_what_a_killed_one_left(
    tmp_path: Path, short_folder: Path, wandb_backend: WandbBackend
) -> None:
    place = short_folder
    gate = Gate(tmp_path)
    sweep = Sweep(
        tmp_path,
        storage=str(tmp_path / "runs"),
        text=TEXT.replace("trackers: {}", "trackers: {wandb: {}}"),
        faults=[gate.fault],
        environment={**wandb_backend.environment, "TMPDIR": str(place)},
    )

    def left() -> list[str]:
        return sorted(path.name for path in place.iterdir() if path.name != "ray")  # of the cluster itself

    with Cluster(tmp_path, environment={**os.environ, **sweep.settings()}) as cluster:
        process = sweep.start("--address", cluster.address)
        sweep.wait_until(lambda: len(gate.held()) == 2 and len(list(place.glob("hoir.wandb-*"))) == 3, process=process)
        stop_at_once(process)
        (place / "hoir.ray-left1234").mkdir()  # of a sweep without a cluster
        kinds = {name.split("-")[0] for name in left()}
        assert kinds == {"hoir.trial", "hoir.tune", "hoir.wandb", "hoir.ray"}
        gate.open()
        assert sweep.run("--address", cluster.address) == 0, sweep.log
    assert left() == []
