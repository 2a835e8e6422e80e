"""A cluster that dies, or stands still, while a driver joins it: the driver ends within seconds and says so."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.faults.sweeps import Sweep
from tests.servers.ray_head import LOOPBACK, RayHead

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
MOST_S = 90.0  # of which a driver's own start takes a third where the machine is busy


def processes_of(head: RayHead) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if os.getsid(process.pid) == head._process.pid:
                found.append(process)
        except ProcessLookupError:
            continue
    return found


def killed(head: RayHead) -> None:
    for process in processes_of(head):
        process.kill()


def stopped(head: RayHead) -> None:
    """It takes connections, and answers nothing."""
    for process in processes_of(head):
        if "gcs_server" in process.info["name"]:
            process.suspend()


def sweep_of(head: RayHead, folder: Path) -> Sweep:
    return Sweep(folder, storage=str(folder / "runs"), environment={**head.client_environment, **LOOPBACK})


@pytest.mark.parametrize("fault", [killed, stopped])
def test_a_dead_head_is_not_waited_for(fault: Callable[[RayHead], None], tmp_path: Path) -> None:
    with RayHead(environment={}) as head:
        sweep = sweep_of(head, tmp_path)
        fault(head)
        began = time.monotonic()
        assert sweep.run("--address", head.ray_address, timeout_s=MOST_S) == 2, sweep.log
        assert time.monotonic() - began < MOST_S
    assert f"--address {head.ray_address}: Ray's head at {head.ray_address} does not answer" in sweep.log
    assert sweep.left_behind() == []


def test_a_cluster_that_dies_while_it_is_joined(tmp_path: Path) -> None:
    """Ray's native code may end the whole process then, without a word of why."""
    with RayHead(environment={}) as head:
        sweep = sweep_of(head, tmp_path)
        process = sweep.start("--address", head.ray_address)
        port = int(head.ray_address.rpartition(":")[2])

        def is_joining() -> bool:
            connections = psutil.Process(process.pid).net_connections("tcp")
            return any(c.raddr and c.raddr[1] == port and c.status == psutil.CONN_ESTABLISHED for c in connections)

        sweep.wait_for("starting Ray", process=process)
        sweep.wait_until(is_joining, process=process)
        killed(head)
        assert process.wait(timeout=MOST_S) in (1, 2), sweep.log
    assert sweep.left_behind() == []
    assert "runs it" not in sweep.log
    with RayHead(environment={}) as other:
        sweep.environment = {**other.client_environment, **LOOPBACK}
        assert sweep.run("--address", other.ray_address) == 0, sweep.log
