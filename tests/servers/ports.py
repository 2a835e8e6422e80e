"""Free ports on loopback, and waiting for a server to answer on one."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; all are held open until the last is known, so they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def wait_for_status(url: str, status: int, *, process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Return once `url` answers with `status`; fail at once when the process ends first."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"server ended with exit code {process.returncode} before it answered at {url}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                found = answer.status
        except urllib.error.HTTPError as error:
            found = error.code
            error.close()
        except OSError:
            found = 0
        if found == status:
            return
        time.sleep(0.1)
    raise RuntimeError(f"no answer {status} at {url} within {timeout_s} s")
