"""A trial's trackers, whose files go into storage: at once where it is a folder, at the trial's end where it is S3."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hoir_ray.errors import HoirError
from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.results.front import pareto_front
from hoir_ray.results.management.contents import TRACKERS
from hoir_ray.results.ranking import ranked
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.summary import table_rows
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.storage import Storage
from hoir_ray.trackers import Tracker, build_trackers
from hoir_ray.trials.attempt import Attempt

KEY = f"{TRACKERS}/key.json"
_log = logging.getLogger(__name__)


@contextmanager
def trackers_of(
    attempt: Attempt, storage: Storage, *, work: Path, curve: Sequence[Mapping[str, float]]
) -> Iterator[Sequence[Tracker]]:
    """The trackers of one attempt at a trial; a failure of theirs is logged and never the trial's.

    Args:
        curve: Rows from which the trial resumes; logged again where the files of the attempt before are not at hand.
    """
    in_bucket = storage.folder is None
    folder = (storage.folder or work) / TRACKERS
    trackers = build_trackers(
        attempt.trackers,
        directory=folder,
        sweep=attempt.sweep,
        trial=attempt.trial,
        run=run_key(storage) if "wandb" in attempt.trackers else "",
        parameters=attempt.parameters,
    )
    try:
        # W&B's journal is gone once it was sent; what its run has already is not sent again.
        built = zip(attempt.trackers, trackers, strict=True)
        _tell_again([t for name, t in built if in_bucket or name == "wandb"], curve)
        yield trackers
    finally:
        if in_bucket:
            _upload(folder, storage)


def run_key(storage: Storage) -> str:
    """Drawn once per sweep and kept with it; a copy of the sweep at another place is another one."""
    storage.put(KEY, json.dumps({"key": uuid.uuid4().hex}).encode(), if_absent=True)
    return f"{storage.get(KEY).decode()}/{storage.uri}"


def _tell_again(trackers: Sequence[Tracker], curve: Sequence[Mapping[str, float]]) -> None:
    for tracker in trackers:
        try:
            for row in curve:
                metrics = {name: value for name, value in row.items() if name != "epoch"}
                tracker.logger.log_metrics(metrics, step=int(row["epoch"]))
        except Exception as error:  # watching must never end what is watched
            _log.warning("tracker %s failed, training continues: %s", type(tracker).__name__, error)


def summarize(spec: SweepSpec, storage: Storage, records: Sequence[TrialRecord]) -> None:
    """One W&B run about the whole sweep: the table of its trials, the front, and where the models are."""
    if "wandb" not in spec.trackers:
        return
    from hoir_ray.trackers.wandb import Config, summary_run

    leaders = ranked(records, spec=spec)
    with temporary_folder("summary") as temp:
        folder = temp if storage.folder is None else storage.folder / TRACKERS
        summary_run(
            Config.model_validate(spec.trackers["wandb"]),
            directory=folder,
            sweep=spec.name,
            run=run_key(storage),
            trials=table_rows(records),
            best=leaders[0].trial if leaders else None,
            front=[r.trial for r in pareto_front(leaders, metrics=spec.metrics)],
            packs={r.trial: f"{storage.uri}/{r.model}" for r in records if r.model},
        )
        if storage.folder is None:
            _upload(folder, storage)


def _upload(folder: Path, storage: Storage) -> None:
    try:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            storage.put_file(f"{TRACKERS}/{path.relative_to(folder).as_posix()}", path)
    except (HoirError, OSError) as error:
        _log.warning("files of the trackers were not uploaded: %s", error)
