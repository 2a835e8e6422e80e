"""The end of a run: everything into storage, unreferenced objects out of it, the rest into the working directory."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from hoir_ray.errors import StorageError
from hoir_ray.results.ledger import key_of
from hoir_ray.results.record import MODELS, TrialRecord, trial_of
from hoir_ray.results.summary import write_summary
from hoir_ray.results.unsaved import keep_records
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.storage import BackgroundUploader, Storage, StoredObject
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.trials.checkpoints import newest_complete
from hoir_ray.trials.trackers import summarize

FLUSH_S = 120.0
MAX_CONTINUED = 50  # stopped trials whose checkpoint outlives the run
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
        objects = storage.list("trials") + storage.list("models")
        storage.delete_keys(unreferenced(objects, driver.records, metric=driver.spec.epoch_metric))
    except StorageError as error:
        driver.storage_failed(str(error))
    lost = [r for r in records if key_of(r) in uploader.missing]
    if lost:
        keep_records(lost, folder=unsaved)


def unreferenced(
    objects: Iterable[StoredObject], records: Mapping[str, TrialRecord], *, metric: MetricSpec
) -> list[str]:
    """Keys below `trials/` and `models/` that no trial needs any more.

    Models of trials that did not finish, pictures of attempts that do not count, and checkpoints of trials that have
    ended, but for the newest of a finished one and of the few that were stopped and may be resumed.

    Args:
        metric: By which trials are compared as they train.
    """
    continued = _worth_continuing(records.values(), metric=metric)
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
        is_kept = records[trial].state == "FINISHED" or trial in continued
        kept = newest_complete(folders) if is_kept else None
        useless += [key for name, keys in folders.items() if name != kept for key in keys]
    return useless


def _worth_continuing(records: Iterable[TrialRecord], *, metric: MetricSpec) -> set[str]:
    """Stopped trials that came furthest, the best of them first, of which so many can be continued later."""
    stopped = [r for r in records if r.state == "PRUNED" and r.best is not None and not r.is_replicate]
    order = sorted(stopped, key=lambda r: (-r.epochs, metric.loss((r.best or {}).get(metric.name, math.nan))))
    return {r.trial for r in order[:MAX_CONTINUED]}


def _is_picture(rest: list[str]) -> bool:
    return len(rest) == 1 and rest[0].startswith("render")
