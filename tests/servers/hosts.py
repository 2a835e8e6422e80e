"""Several hosts on this machine, in network namespaces: `cluster/local.sh`, as a user would type it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import psutil

SCRIPT = Path(__file__).parents[2] / "cluster" / "local.sh"


def why_not() -> str | None:
    """Return the reason why this machine cannot have test hosts, or None."""
    if os.geteuid() != 0:
        return "test hosts need root, for network namespaces"
    missing = [name for name in ("ip", "nsenter", "unshare") if shutil.which(name) is None]
    if missing:
        return f"test hosts need {', '.join(missing)} (Debian: iproute2, util-linux)"
    name = f"hoir-probe-{os.getpid()}"
    probe = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return None if probe.returncode == 0 else f"network namespaces are refused here: {probe.stderr.strip()}"


class Hosts:
    """A head and two workers of one CPU each, up between `__enter__` and `__exit__`.

    Args:
        environment: Of every process on them.
    """

    def __init__(self, folder: Path, *, environment: Mapping[str, str]) -> None:
        self.folder, self.net = folder, 20 + os.getpid() % 200  # several test runs share a machine
        self.environment = {
            **os.environ,
            **environment,
            "NET": str(self.net),
            "STATE": str(folder / "hosts"),
            "PYTHON": sys.executable,
            # Each host would compile the same kernels again.
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
        }
        self.here = f"10.199.{self.net}.254"

    def __enter__(self) -> Hosts:
        self.do("down")  # what a killed test run left
        try:
            self.do("up", "2")
        except BaseException:
            self.do("down")
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.do("down")

    def launcher(self, host: str = "head") -> list[str]:
        """Prefix of a command that runs on a host."""
        return [str(SCRIPT), "run", host]

    def do(self, *arguments: str) -> str:
        """One command of the script; its output."""
        done = self.ask(str(SCRIPT), *arguments)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def run(self, host: str, *command: str) -> subprocess.CompletedProcess[str]:
        """A command on a host, to its end."""
        return self.ask(*self.launcher(host), *command)

    def processes(self) -> list[str]:
        """Command lines of all that runs on the hosts; told by its network, as others may run the like beside it."""
        networks = {path.stat().st_ino for path in Path("/run/netns").glob(f"hoir{self.net}-*")}
        found = []
        for process in psutil.process_iter(["cmdline"]):
            try:
                if Path(f"/proc/{process.pid}/ns/net").stat().st_ino in networks:
                    found.append(" ".join(process.info["cmdline"] or []))
            except OSError:  # it has ended
                continue
        return found

    def python(self, host: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(host, sys.executable, *arguments)

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=500, check=False)
