"""Outlives a driver to end what it leaves: run as a program, it waits for its input to close.

Ray's own helpers take a minute and more to notice that the driver was killed, and its folder would stay for ever.
Only the standard library, so that it starts in no time and weighs little.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path


def main(home: str, *links: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the driver's end is what counts
        signal.signal(number, signal.SIG_IGN)
    driver = os.getppid()
    sys.stdin.read()
    end_users(home, but=driver)
    for folder in (home, *links):
        shutil.rmtree(folder, ignore_errors=True)


def end_users(home: str, *, but: int | None = None) -> None:
    """Kill what uses the folder, and what that has started meanwhile."""
    for _ in range(50):
        pids = [pid for pid in users_of(home) if pid != but]
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not pids:
            break
        time.sleep(0.1)


def users_of(home: str) -> Iterator[int]:
    """Processes of this user that have a file of the folder open, as all of Ray's have their logs."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                if process.stat().st_uid != os.getuid():
                    continue
                files = [os.readlink(link) for link in (process / "fd").iterdir()]  # noqa: PTH115  # sockets too
                if any(file.startswith(f"{home}/") for file in files):
                    yield int(process.name)


if __name__ == "__main__":
    main(*sys.argv[1:])
