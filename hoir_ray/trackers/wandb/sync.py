"""Synchronisation with W&B after the fact: runs that could not be sent during training."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from hoir_ray.errors import RequestError, WorkError
from hoir_ray.machine.processes import user_and_host
from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.storage import Storage, acquire_lock
from hoir_ray.trackers.wandb.access import find_access, forget
from hoir_ray.trackers.wandb.config import Config
from hoir_ray.trackers.wandb.journal import Journal, find_journals
from hoir_ray.trackers.wandb.run import OpenRun, shorten

JOURNALS = "trackers/wandb"
_AT_A_TIME = 4
_BUSY = "being recorded or sent by another process"


def sync(directory: Path, *, timeout_s: float = 600.0) -> int:
    """Send every journal below `directory` and remove it; returns how many there were.

    Args:
        timeout_s: For each run.

    Raises:
        RequestError: If there is no folder, or W&B cannot be reached with the user's key, or a run is not at its end;
            the others are sent all the same.
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
    busy = [f for f in failures if f == _BUSY]
    if len(failures) > len(busy):
        failures = [f for f in failures if f != _BUSY]
        raise WorkError(f"W&B did not take {len(failures)} of {len(journals)} runs; the first said: {failures[0]}")
    if busy:
        raise RequestError(f"{directory}: {len(busy)} of {len(journals)} runs are still {_BUSY}; sync again after that")
    return len(journals)


def sync_sweep(storage: Storage) -> int:
    """Send a sweep's unsent runs; returns how many there were.

    Raises:
        RequestError: If W&B cannot be reached with the user's key.
        LockedError: If the sweep runs.
        WorkError: If W&B did not take a run; it stays where it is.
    """
    with _alone(storage):
        return _sync_stored(storage)


def _alone(storage: Storage) -> AbstractContextManager[object]:
    """The sweep's lock: neither may it run meanwhile, nor another `hoir sync`. A single training has none."""
    if not storage.list(JOURNALS) or not storage.exists("spec.yaml"):
        return nullcontext()
    return acquire_lock(storage, owner=f"hoir sync of {user_and_host()}", advice="sync when it has ended")


def _sync_stored(storage: Storage) -> int:
    if storage.folder is not None:
        folder = storage.folder / "trackers"
        return sync(folder) if folder.is_dir() else 0
    keys = [o.key for o in storage.list(JOURNALS)]
    with temporary_folder("sync") as temp:
        for key in keys:
            path = temp / key
            path.parent.mkdir(parents=True, exist_ok=True)
            storage.get_file(key, path)
        sent = sync(temp) if keys else 0
    storage.delete_keys(keys)
    return sent


def _send(journal: Journal, *, timeout_s: float) -> str | None:
    """Send one journal and return the error, or None."""
    if not journal.claim():
        return _BUSY
    try:
        run = OpenRun(journal, finish_timeout_s=timeout_s)
        run.send_journal()
        if not run.finish():
            return f"{journal.run['name']}: not everything that was sent arrived"
    except Exception as error:  # the SDK raises errors of many kinds
        return f"{journal.run['name']}: {shorten(error)}"
    else:
        journal.remove()
        return None
    finally:
        journal.release()
