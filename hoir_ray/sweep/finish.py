"""The end of a run: everything into storage, unreferenced objects out of it, the rest into the working directory."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from hoir_ray.errors import StorageError
from hoir_ray.results.ledger import key_of
from hoir_ray.results.record import MODELS, TrialRecord, trial_of
from hoir_ray.results.summary import write_summary
from hoir_ray.results.unsaved import keep_records
from hoir_ray.storage import BackgroundUploader, Storage, StoredObject
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.trials.trackers import summarize

FLUSH_S = 120.0
_log = logging.getLogger(__name__)


def finish(driver: Driver, storage: Storage, uploader: BackgroundUploader, *, unsaved: Path) -> None:
    """Write the ledger, the summary and nothing else; records that storage does not take go into `unsaved`.

    Raises:
        StorageError: If not even that folder can be written.
    """
    records = list(driver.records.values())
    for record in records:
        if key_of(record) in uploader.missing:  # once more, now that the outage may be over
            driver.board.ledger.save(record)
    driver.board.ledger.save_snapshot(records)
    try:
        uploader.close(timeout_s=FLUSH_S)
        write_summary(storage, driver.spec, records)
        if not driver.exit_code:
            summarize(driver.spec, storage, records)
        storage.delete_keys(unreferenced(storage.list("trials") + storage.list("models"), driver.records))
    except StorageError as error:
        driver.storage_failed(str(error))
    lost = [r for r in records if key_of(r) in uploader.missing]
    if lost:
        keep_records(lost, folder=unsaved)


def unreferenced(objects: Iterable[StoredObject], records: Mapping[str, TrialRecord]) -> list[str]:
    """Keys below `trials/` and `models/` that no trial needs any more.

    Models of trials that did not finish, pictures of attempts that do not count, and checkpoints of trials that have
    ended, but for the newest of a finished one.
    """
    useless, checkpoints = [], dict[str, dict[str, list[str]]]()
    for key in (o.key for o in objects):
        top, folder, *rest = key.split("/")
        trial = trial_of(key)
        record = records.get(trial)
        if top == MODELS:
            if record is None or (record.ended and record.model != f"{MODELS}/{folder}"):
                useless.append(key)
        elif record is None or (record.ended and _is_picture(rest) and key != record.picture_key):
            useless.append(key)
        elif record.ended and len(rest) > 2 and rest[0] == "checkpoints":
            checkpoints.setdefault(trial, {}).setdefault(rest[1], []).append(key)
    for trial, folders in checkpoints.items():
        complete = [name for name, keys in folders.items() if any(k.endswith("/manifest.json") for k in keys)]
        kept = max(complete, default=None) if records[trial].state == "FINISHED" else None
        useless += [key for name, keys in folders.items() if name != kept for key in keys]
    return useless


def _is_picture(rest: list[str]) -> bool:
    return len(rest) == 1 and rest[0].startswith("render")
