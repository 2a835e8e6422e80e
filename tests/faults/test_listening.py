"""Nothing that runs on this machine can be reached from another one."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.faults.gates import Gate
from tests.faults.invariants import check_invariants
from tests.faults.sweeps import TEXT, Sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def listening(processes: Iterable[psutil.Process]) -> set[tuple[str, int]]:
    """Addresses and ports on which any of them takes connections or datagrams from whoever sends them."""
    found = set()
    for process in processes:
        try:
            connections = process.net_connections(kind="inet")
        except psutil.Error:  # it has ended
            continue
        found |= {(c.laddr.ip, c.laddr.port) for c in connections if c.laddr and not c.raddr}
    return found


def beyond_this_machine(addresses: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return [(ip, port) for ip, port in addresses if not _is_loopback(ip.split("%")[0])]


def _is_loopback(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


@contextmanager
def serving(sweep: Sweep, *arguments: str) -> Iterator[psutil.Process]:
    """A command of ours that serves until it is ended, once it can be reached."""
    command = [sys.executable, "-m", "hoir_ray", *arguments]
    with (sweep.folder / "serving.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=sweep.folder, env={**os.environ, **sweep.settings()}, stdout=log, stderr=log
        )
    try:
        end = time.monotonic() + 120
        while not listening([psutil.Process(process.pid)]):
            assert process.poll() is None, (sweep.folder / "serving.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.2)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_sweep_its_report_and_its_dashboard_listen_on_loopback_alone(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    sweep = Sweep(
        tmp_path,
        storage=str(tmp_path / "runs"),
        text=TEXT.replace("max_trials: 4", "max_trials: 1") + "resources: {workers: 2}\n",  # who meet on a port too
        faults=[gate.fault],
    )
    process = sweep.start()
    sweep.wait_until(gate.held, process=process)
    seen = listening(sweep.processes())
    where = str(tmp_path / "runs" / "tiny")
    commands = [["report", where, "--watch", "--out", "report.html"]]
    if importlib.util.find_spec("optuna_dashboard") is not None:
        commands.append(["dashboard", where])
    with ExitStack() as stack:
        pages = listening([stack.enter_context(serving(sweep, *command)) for command in commands])
        gate.open()
        while process.poll() is None:
            seen |= listening(sweep.processes())
            time.sleep(0.2)
    assert len(seen) > 3, "Ray's own ports"
    assert len(pages) >= len(commands)
    assert beyond_this_machine(seen | pages) == []
    code = process.wait()
    check_invariants(sweep, num_trials=1, exit_code=code)
    assert code == 0
