"""A sweep's saved view and report, made by a program of its own, which is ended when its time is over."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

from hoir_ray.errors import masked
from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.trackers.wandb import view_program
from hoir_ray.trackers.wandb.access import environment_of_program, find_access
from hoir_ray.trackers.wandb.config import Config
from hoir_ray.trackers.wandb.view_program import Contents, Ended, Request, Saved

PACKAGE = "wandb_workspaces"
_log = logging.getLogger(__name__)


class ViewMaker:
    """Saves views and reports, one program at a time, until `close` ends the one that runs."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._program: subprocess.Popen[str] | None = None
        self._is_closed = False

    def save_view(self, contents: Contents, *, run: str) -> Saved | None:
        """Save the view of a sweep, or say in one line why there is none.

        Args:
            run: Tells this sweep from others of the same name.
        """
        name = f"nw-{hashlib.sha256(run.encode()).hexdigest()[:11]}-v"
        return self._save(Request(self._config.project, self._config.entity, name, contents), what="view")

    def save_report(self, contents: Contents, ended: Ended, *, before: Saved | None) -> Saved | None:
        """Save the report of a sweep that has ended, or write `before` anew, or say in one line why there is none."""
        request = Request(self._config.project, self._config.entity, "", contents, ended=ended, saved=before)
        return self._save(request, what="report")

    def close(self) -> None:
        """End the program that runs, if one does; no other is started."""
        with self._lock:
            self._is_closed = True
            if self._program is not None:
                _end(self._program)

    def _save(self, request: Request, *, what: str) -> Saved | None:
        began, limit_s = time.monotonic(), self._config.finish_timeout_s
        access = find_access(self._config, timeout_s=min(5.0, limit_s / 2))
        if access.mode == "offline":  # whose reason was said before the first trial
            return None
        if importlib.util.find_spec(PACKAGE) is None:
            _log.warning("W&B: no %s: a package is missing; pip install wandb-workspaces", what)
            return None
        try:
            return self._run(request, limit_s=max(0.1, limit_s - (time.monotonic() - began)))
        except subprocess.TimeoutExpired:
            why = f"it was not saved within {limit_s:g} s"
        except Exception as error:  # the sweep does not end for a view
            why = _one_line(error)
        if not self._is_closed:
            _log.warning("W&B: no %s: %s. The sweep and its runs are not touched by that.", what, why)
        return None

    def _run(self, request: Request, *, limit_s: float) -> Saved:
        environment, entity = environment_of_program()
        request = replace(request, entity=request.entity or entity, limit_s=limit_s + 5)
        with temporary_folder("views") as folder:
            folders = {name: str(folder) for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR")}
            with self._lock:
                if self._is_closed:
                    raise RuntimeError("the sweep has ended")
                self._program = subprocess.Popen(  # noqa: S603 - a file of this package
                    [sys.executable, "-P", view_program.__file__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    cwd=folder,
                    env=environment | folders,
                    start_new_session=True,
                )
            with self._program as program:  # closes its pipes
                try:
                    said, complaint = program.communicate(json.dumps(asdict(request)), timeout=limit_s)
                finally:
                    _end(program)
        if not said:
            raise RuntimeError((complaint.strip().splitlines() or ["it ended without an answer"])[-1])
        answer = json.loads(said)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return Saved(**answer)


def _end(program: subprocess.Popen[str]) -> None:
    """End the program and all that it has started, whose group is its own."""
    if program.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def _one_line(error: Exception) -> str:
    """The error's text without the key, which an answer may repeat."""
    text = masked(" ".join(str(error).split()))
    key = environment_of_program()[0].get("WANDB_API_KEY")
    return (text.replace(key, "***") if key else text)[:200]
