"""Synchronisation with W&B after the fact: runs that could not be sent during training, from wherever the sweep is kept."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hoir_ray.errors import RequestError, WorkError
import tempfile
from hoir_ray.storage import Storage
from hoir_ray.trackers.wandb.access import find_access, forget
from hoir_ray.trackers.wandb.config import Config
from hoir_ray.trackers.wandb.journal import Journal, find_journals
from hoir_ray.trackers.wandb.run import OpenRun, shorten

JOURNALS = "trackers/wandb"
_AT_A_TIME = 4


def sync(directory: Path, *, timeout_s: float = 600.0) -> int:
    """Send every journal below `directory` and remove it; returns how many there were.

    Args:
        timeout_s: For each run.

    Raises:
        RequestError: If there is no folder, or W&B cannot be reached with the user's key.
        WorkError: If W&B did not take a run, whose journal stays; the others are sent all the same.
    """
    if not directory.is_dir():
        raise RequestError(f"{directory}: is not a folder with runs to send")
    journals = find_journals(directory)
    if not journals:
        return 0
    forget()
    access = find_access(Config(), timeout_s=20.0)
    if access.mode == "offline":
        raise RequestError(f"W&B: {access.reason or 'WANDB_MODE is set to stay offline'}")
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        failures = [f for f in pool.map(functools.partial(_send, timeout_s=timeout_s), journals) if f]
    if failures:
        raise WorkError(f"W&B did not take {len(failures)} of {len(journals)} runs; the first said: {failures[0]}")
    return len(journals)


def sync_sweep(storage: Storage) -> int:
    """Send a sweep's unsent runs; returns how many there were.

    Raises:
        RequestError: If W&B cannot be reached with the user's key.
        WorkError: If W&B did not take a run; it stays where it is.
    """
    if not storage.uri.startswith("s3://"):
        folder = Path(storage.uri) / "trackers"
        return sync(folder) if folder.is_dir() else 0
    keys = [o.key for o in storage.list(JOURNALS)]
    with tempfile.TemporaryDirectory(prefix="hoir-sync-") as temp:
        for key in keys:
            path = Path(temp) / key
            path.parent.mkdir(parents=True, exist_ok=True)
            storage.get_file(key, path)
        sent = sync(Path(temp)) if keys else 0
    storage.delete_keys(keys)
    return sent


def _send(journal: Journal, *, timeout_s: float) -> str | None:
    """Send one journal and return the error, or None."""
    try:
        run = OpenRun(journal, finish_timeout_s=timeout_s)
        run.send_journal()
        if not run.finish():
            return f"{journal.run['name']}: not everything that was sent arrived"
    except Exception as error:  # the SDK raises errors of many kinds
        return f"{journal.run['name']}: {shorten(error)}"
    journal.remove()
    return None
