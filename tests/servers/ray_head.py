"""A real Ray cluster of one machine: its head on loopback, with the dashboard and behind a token."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import psutil

from tests.servers.ports import free_ports, wait_for_status

# Ray's word for "this machine only", without which it takes 127.0.0.1 for the outer address.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
ATTEMPTS = 3
START_S = 120.0
PORTS = (
    "port",
    "dashboard-port",
    "ray-client-server-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
)


class RayHead:
    """Running between `__enter__` and `__exit__`, its folder short because Ray's socket names are long.

    Args:
        environment: Of the head and so of all that runs there, such as the storage's credentials.
    """

    def __init__(self, *, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    def __enter__(self) -> RayHead:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._start()
                return self
            except RuntimeError as error:  # Ray gives its parts 15 s to start, which a busy machine may not
                shown = (self.folder / "head.log").read_text(errors="replace")[-2000:]
                self.__exit__(None, None, None)
                if attempt == ATTEMPTS:
                    raise RuntimeError(f"{error}\n{shown}") from error
        raise AssertionError

    def _start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hr-", dir="/tmp"))
        self.token = secrets.token_hex(32)
        self.token_path = self.folder / "token"
        self.token_path.touch(mode=0o600)
        self.token_path.write_text(self.token)
        self.home = self.folder / "home"
        self.home.mkdir()
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.address = f"http://127.0.0.1:{ports['dashboard-port']}"
        self.ray_address = f"127.0.0.1:{ports['port']}"
        command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--disable-usage-stats"]
        command += [f"--temp-dir={self.folder / 'r'}", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
        command += ["--num-cpus=2", "--object-store-memory=100000000", *(f"--{n}={p}" for n, p in ports.items())]
        with (self.folder / "head.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=self._settings(), stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + START_S
        while b"Ray runtime started" not in (self.folder / "head.log").read_bytes():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the head ended ({self._process.poll()}) or did not start within {START_S:g} s")
            time.sleep(0.2)
        wait_for_status(f"{self.address}/api/version", 401, process=self._process, timeout_s=START_S)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in psutil.process_iter(["pid"]):
            try:
                if os.getsid(process.pid) == self._process.pid or str(self.folder) in " ".join(process.cmdline()):
                    process.send_signal(signal.SIGKILL)
            except (ProcessLookupError, psutil.Error):
                continue
        self._process.wait(timeout=30)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def client_environment(self) -> dict[str, str]:
        """Variables with which a process is let in."""
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_path),
            "RAY_API_SERVER_ADDRESS": self.address,
        }

    def _settings(self) -> dict[str, str]:
        """Neither the tests' PYTHONPATH nor their PATH: what runs there is what was shipped, by Ray's own Python."""
        return {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_path),
            "RAY_memory_monitor_refresh_ms": "0",
            **LOOPBACK,
            **self._environment,
        }
