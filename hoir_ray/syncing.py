"""Sending to W&B later what could not be sent while a sweep ran, from wherever the sweep is kept."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hoir_ray.storage import Storage
from hoir_ray.trackers._wandb.sync import sync  # not by way of the tracker, which needs torch

FOLDER = "trackers/wandb"


def sync_sweep(storage: Storage) -> int:
    """Send a sweep's unsent runs; returns how many there were.

    Raises:
        RequestError: If W&B cannot be reached with the user's key.
        WorkError: If W&B did not take a run; it stays where it is.
    """
    if not storage.uri.startswith("s3://"):
        folder = Path(storage.uri) / "trackers"
        return sync(folder) if folder.is_dir() else 0
    keys = [o.key for o in storage.list(FOLDER)]
    with tempfile.TemporaryDirectory(prefix="hoir-sync-") as temp:
        for key in keys:
            path = Path(temp) / key
            path.parent.mkdir(parents=True, exist_ok=True)
            storage.get_file(key, path)
        sent = sync(Path(temp)) if keys else 0
    storage.delete_keys(keys)
    return sent
