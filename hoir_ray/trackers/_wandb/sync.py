"""Sending later what could not be sent during training, through W&B's own command."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hoir_ray.errors import RequestError, WorkError
from hoir_ray.trackers._wandb.access import find_access, forget
from hoir_ray.trackers._wandb.config import Config
from hoir_ray.trackers._wandb.tracker import UNFINISHED

_AT_A_TIME = 4
# A run whose process ended while it was finishing holds two exit records; W&B takes all and complains of the second.
_HARMLESS = "ERROR No response."


def unsent_runs(directory: Path) -> list[Path]:
    """Folders of runs anywhere below `directory` that W&B has not got, or not completely, oldest first."""
    folders = [p for p in directory.rglob("*run-*") if p.parent.name == "wandb" and p.is_dir() and not p.is_symlink()]
    unsent = [p for p in folders if p.name.startswith("offline-run-") or (p / UNFINISHED).exists()]
    return sorted(
        [p for p in unsent if list(p.glob("run-*.wandb")) and not list(p.glob("run-*.wandb.synced"))],
        key=lambda p: p.name.split("run-", 1)[1],
    )


def unsent_files(directory: Path) -> list[Path]:
    """The files that must be kept, under the same paths, for `sync` to send the unsent runs from elsewhere."""
    return [p for run in unsent_runs(directory) for p in (*run.glob("run-*.wandb"), run / UNFINISHED) if p.exists()]


def sync(directory: Path, *, timeout_s: float = 600.0) -> int:
    """Send every unsent run below `directory` once, and return how many there were.

    Args:
        timeout_s: For each run.

    Raises:
        RequestError: If there is no folder, or W&B cannot be reached with the user's key.
        WorkError: If W&B did not take a run; the others are sent all the same.
    """
    if not directory.is_dir():
        raise RequestError(f"{directory}: is not a folder with runs to send")
    runs = unsent_runs(directory)
    if not runs:
        return 0
    forget()
    access = find_access(Config(), timeout_s=20.0)
    if access.mode == "offline":
        raise RequestError(f"W&B: {access.reason or 'WANDB_MODE is set to stay offline'}")
    by_id: dict[str, list[Path]] = {}
    for run in runs:  # the parts of one run go together and in order
        by_id.setdefault(next(run.glob("run-*.wandb")).stem, []).append(run)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        failures = [f for f in pool.map(lambda parts: _send(parts, timeout_s=timeout_s), by_id.values()) if f]
    if failures:
        raise WorkError(f"W&B did not take {len(failures)} of {len(by_id)} runs; the first said: {failures[0]}")
    return len(by_id)


def _send(parts: list[Path], *, timeout_s: float) -> str | None:
    """Send the parts of one run and mark them as sent; what went wrong, if anything did."""
    command = [sys.executable, "-m", "wandb", "sync", "--include-online", "--include-synced", *map(str, parts)]
    # A service of this process, which WANDB_SERVICE names, may still hold the run; and silence would hide the errors.
    environment = {k: v for k, v in os.environ.items() if k not in {"WANDB_SERVICE", "WANDB_SILENT"}}
    try:
        with tempfile.TemporaryDirectory(prefix="hoir-sync-") as temp:  # its logs; they would lie where the user stands
            environment["WANDB_DIR"] = temp
            done = subprocess.run(  # noqa: S603
                command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        lines = (done.stdout + done.stderr).splitlines()
        errors = [line for line in lines if "ERROR" in line and not line.endswith(_HARMLESS)]
        failure = errors[0] if errors else None if done.returncode == 0 else f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        failure = f"nothing within {timeout_s:g} s"
    for part in parts:
        marker = next(part.glob("run-*.wandb")).with_suffix(".wandb.synced")
        if failure is None:
            marker.touch()
        else:  # W&B sets it after fatal errors too
            marker.unlink(missing_ok=True)
    return failure and f"{parts[0].name}: {failure}"
