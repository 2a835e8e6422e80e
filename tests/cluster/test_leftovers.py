"""A private Ray whose driver and reaper were killed together is ended and removed by the next one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from hoir_ray.cluster import reaper
from hoir_ray.cluster.leftovers import remove_leftovers

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
