"""Real `hoir sweep` processes on tiny sweeps, with faults put into their trials, and what they leave running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from hoir_ray.results.sweep_results import SweepResults, open_sweep
from hoir_ray.storage import open_storage
from hoir_ray.storage.manifest import MANIFEST

PROJECT = Path(__file__).parents[2]
INJECTION = Path(__file__).parent / "injection"
TEXT = """\
name: tiny
task: image
data: {image: sample:astronaut, max_side: 32}
method: random
metric: {name: val_psnr_db, goal: maximize}
parameters:
  network.layer_type: {value: continuous}
  network.input.segments: {min: 4, max: 16}
  network.hidden.width: {min: 4, max: 12}
  training.optimizer.lr: {min: 1.0e-3, max: 1.0e-2, distribution: log_uniform_values}
  training.max_epochs: {value: 6}
budget: {max_trials: 4}
trackers: {}
"""


def write_plan(
    path: Path, *, epochs: Path, faults: Sequence[Mapping[str, Any]] = (), checkpoint_every_s: float | None = None
) -> dict[str, str]:
    """Write the plan of faults that the injected module reads; returns the variables that processes need."""
    every = {} if checkpoint_every_s is None else {"checkpoint_every_s": checkpoint_every_s}
    path.write_text(json.dumps({"faults": list(faults), "epochs": str(epochs), **every}))
    return {"HOIR_TEST_FAULTS": str(path), "PYTHONPATH": str(INJECTION)}


class Sweep:
    """One sweep in a folder of its own; `run` and `start` are `hoir sweep` typed there.

    Args:
        checkpoint_every_s: Seconds between a trial's checkpoints, 0 for one after each epoch; None for what users have.
        launcher: What stands before the command, such as a way to another host.
    """

    def __init__(
        self,
        folder: Path,
        *,
        storage: str,
        endpoint_url: str | None = None,
        text: str = TEXT,
        faults: Sequence[Mapping[str, Any]] = (),
        checkpoint_every_s: float | None = None,
        environment: Mapping[str, str] = {},
        launcher: Sequence[str] = (),
    ) -> None:
        self.folder, self.storage, self.endpoint_url = folder, storage, endpoint_url
        self.environment, self.launcher = dict(environment), list(launcher)
        self.faults, self.checkpoint_every_s = list(faults), checkpoint_every_s
        self.sessions: list[int] = []
        where = {"uri": storage, "endpoint_url": endpoint_url}
        (folder / "sweep.yaml").write_text(f"{text}storage: {json.dumps(where)}\n")
        self.log_file = folder / "sweep.log"
        self.log_file.touch()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """The process leads a session, which Ray's processes are part of too."""
        command = [*self.launcher, sys.executable, "-m", "hoir_ray", "sweep", "sweep.yaml", *arguments]
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **self.settings()},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.sessions.append(process.pid)
        return process

    def settings(self) -> dict[str, str]:
        """Variables that a process needs to train, and fail, for this sweep."""
        plan = write_plan(
            self.folder / "faults.json",
            epochs=self.folder / "epochs.txt",
            faults=self.faults,
            checkpoint_every_s=self.checkpoint_every_s,
        )
        return {**self.environment, **plan, "PYTHONPATH": os.pathsep.join([str(INJECTION), str(PROJECT)])}

    def run(self, *arguments: str, timeout_s: float = 600) -> int:
        process = self.start(*arguments)
        try:
            return process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the sweep did not end within {timeout_s} s:\n{self.log}") from None

    def kill(self) -> None:
        """Whatever is left of all its processes, after a test has failed."""
        for process in self.processes():
            process.kill()

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def wait_for(self, text: str, *, process: subprocess.Popen[bytes], after: int = 0, timeout_s: float = 200) -> None:
        """Until the log shows `text` behind its first `after` characters."""
        self.wait_until(lambda: text in self.log[after:], process=process, timeout_s=timeout_s)

    def wait_until(
        self, condition: Callable[[], object], *, process: subprocess.Popen[bytes], timeout_s: float = 200
    ) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            if process.poll() is not None or time.monotonic() > end:
                ended = process.poll()
                self.kill()
                raise AssertionError(f"the sweep ended ({ended}) or nothing came within {timeout_s} s:\n{self.log}")
            time.sleep(0.05)

    def epochs(self) -> dict[tuple[str, int], list[int]]:
        """(trial, attempt) -> the epochs that were trained, whether or not anybody heard of them."""
        found: dict[tuple[str, int], list[int]] = {}
        for trial, attempt, epoch, _ in self._trained():
            found.setdefault((trial, int(attempt)), []).append(int(epoch))
        return found

    def hosts(self) -> dict[tuple[str, int], str]:
        """(trial, attempt) -> the host on which it was trained, or its first worker was."""
        return {(trial, int(attempt)): host for trial, attempt, _, host in self._trained()}

    def _trained(self) -> list[list[str]]:
        file = self.folder / "epochs.txt"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def opened(self) -> SweepResults:
        return open_sweep(open_storage(self.storage, endpoint_url=self.endpoint_url).child("tiny"))

    @property
    def is_stopping(self) -> bool:
        """Its driver has decided to stop, and waits for the trials under way."""
        return (self.folder / "stopping").exists()

    def checkpoints(self, trial: str) -> list[int]:
        """Epochs of the trial's checkpoints that are in storage whole."""
        folder = open_storage(self.storage, endpoint_url=self.endpoint_url).child("tiny")
        keys = [o.key for o in folder.list(f"trials/{trial}/checkpoints") if o.key.endswith(MANIFEST)]
        return sorted(int(key.split("/")[-2].rpartition("-e")[2]) for key in keys)

    def processes(self, *, named: str = "") -> list[psutil.Process]:
        """Live ones of all sessions, by a part of their command line."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            try:
                line = " ".join(process.info["cmdline"] or [])
                if os.getsid(process.pid) in self.sessions and process.info["status"] != psutil.STATUS_ZOMBIE:
                    found += [process] if named in line else []
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def left_behind(self, *, within_s: float = 15) -> list[str]:
        """Processes that are still there after a time in which all should have ended by themselves."""
        end = time.monotonic() + within_s
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.2)
        return [" ".join(p.cmdline())[:120] for p in left if p.is_running()]


def stop_at_once(process: subprocess.Popen[bytes]) -> None:
    """kill -9."""
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
