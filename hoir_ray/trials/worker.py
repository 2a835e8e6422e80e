"""Training of one trial on the machine that runs it: data, network, training, and the model pack that is published."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from hoir_ray.errors import StorageError
from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.packs.quantization.form import Form
from hoir_ray.packs.quantization.metrics import stored_metrics
from hoir_ray.storage import BackgroundUploader, Storage, open_storage
from hoir_ray.tasks import load_task
from hoir_ray.tasks.fit import fit
from hoir_ray.tasks.localize import localize
from hoir_ray.training.loop import Distributed, Epoch, Hooks
from hoir_ray.trials.attempt import Attempt
from hoir_ray.trials.checkpoints import CHECKPOINT, Checkpoints, Resumed
from hoir_ray.trials.memory_limit import memory_limit
from hoir_ray.trials.messages import EpochEnded, Finished, Message, Placed, Preempted
from hoir_ray.trials.publish import publish
from hoir_ray.trials.storing import stored_form
from hoir_ray.trials.trackers import trackers_of

Report = Callable[[Message], str | None]


FOLDER_EVERY_S, S3_EVERY_S = 2.0, 4.0  # an upload takes some 20 ms of the training's processor


FLUSH_S = 60.0  # for the checkpoints of a trial that stops or fails


def _keep(value: str | None) -> str | None:
    return value


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One of the workers that train a network together; that of rank 0 reports, draws, and writes to storage.

    Attributes:
        share: Gives every worker what the first one puts in.
    """

    rank: int = 0
    num_workers: int = 1
    distributed: Distributed | None = None
    share: Callable[[str | None], str | None] = _keep


SINGLE = Worker()


def train_worker(attempt: Attempt, report: Report, *, worker: Worker = SINGLE) -> None:
    """Train one network and publish it.

    Args:
        report: Gets a message when the trial is placed, one per validated epoch and a last one when the model is in
            storage, from the first worker only. It may raise SystemExit, when the sweep has decided to stop the trial,
            or return why the trial is preempted; then training ends with a checkpoint of this epoch.
    """
    torch.set_num_threads(max(1, int(attempt.cpus)))
    task = load_task(attempt.task)
    config = task.config.model_validate(attempt.config)
    root = _open(attempt.storage_uri, attempt.endpoint_url)
    storage = root.child(attempt.sweep)
    is_first = worker.rank == 0
    preempted: list[str] = []
    with (
        temporary_folder("trial") as work,
        _uploads(storage) as uploader,
        memory_limit(attempt.memory_limit),
    ):
        checkpoints = Checkpoints(storage, trial=attempt.trial, attempt=attempt.attempt)
        resumed = _resume(checkpoints, work / CHECKPOINT, worker)
        curve = list(resumed.curve)
        if is_first:
            report(_placed(resumed, worker, batch_size=config.training.batch_size))
        local = localize(config, attempt.inputs, root)
        data = task.data(local)

        def on_epoch(epoch: Epoch) -> bool:
            row = {"epoch": float(epoch.epoch), **{name: float(value) for name, value in epoch.metrics.items()}}
            curve.append(row)
            reason = report(EpochEnded(row=row)) if is_first else None
            preempted.extend([reason] if reason else [])
            return not reason

        forms: list[Form] = []
        at_end: dict[str, float] = {}

        def on_end(network: nn.Module) -> dict[str, float]:
            if preempted and curve[-1]["epoch"] < config.training.max_epochs:
                return {}
            at_end.update(task.measure_end(network, local, data, attempt.measures_end))
            if attempt.measures_stored_form or config.training.quantization:
                forms.append(stored_form(task=task, config=config, data=data, network=network, folder=work))
                at_end.update(stored_metrics(forms[0], facts=data.facts))
            return at_end

        with trackers_of(attempt, storage, work=work, curve=resumed.curve) if is_first else nullcontext(()) as trackers:
            hooks = Hooks(
                metric=attempt.metric,
                goal=attempt.goal,
                trackers=trackers,
                on_epoch=on_epoch,
                on_end=on_end if is_first else None,
                checkpoint=work / CHECKPOINT,
                checkpoint_every_s=FOLDER_EVERY_S if storage.folder is not None else S3_EVERY_S,
                on_checkpoint=lambda path, epoch: checkpoints.save(uploader, path, epoch=epoch, curve=curve),
            )
            network, outcome = fit(task, config, data, hooks, distributed=worker.distributed)
        if not is_first or (preempted and outcome.epochs < config.training.max_epochs):
            unsaved = None
        else:
            preempted.clear()  # it has come to its end, and publishing takes less than starting anew
            unsaved = publish(
                uploader,
                attempt,
                task=task,
                config=config,
                data=data,
                network=network,
                fit=outcome,
                form=forms[0] if forms else None,
                at_end=at_end,
                work=work,
            )
            if unsaved is None:
                with contextlib.suppress(StorageError):  # they were for a restart; what is left of them goes in the end
                    checkpoints.keep_newest()
    if not is_first:
        return
    if preempted:
        report(Preempted(reason=preempted[0]))
        return
    best = f"{attempt.metric} {outcome.best_metrics[attempt.metric]:.6g}"
    reason = f"best {best} at epoch {outcome.best_epoch} of {outcome.epochs}"
    early = ", stopped early" if outcome.stopped_early else ""
    report(Finished(reason=reason + early, model=attempt.model, stored=at_end, unsaved=unsaved))


def _resume(checkpoints: Checkpoints, path: Path, worker: Worker) -> Resumed:
    """Resume every worker from the checkpoint that the first one found to be the newest good one."""
    resumed = checkpoints.fetch(path) if worker.rank == 0 else Resumed()
    name = worker.share(resumed.name)
    if worker.rank > 0 and name is not None:
        checkpoints.fetch_same(name, path)
    return resumed


def _placed(resumed: Resumed, worker: Worker, *, batch_size: int) -> Placed:
    notes = list(resumed.notes)
    if worker.num_workers > 1:
        share = f"{batch_size / worker.num_workers:g}"
        notes.append(f"{worker.num_workers} workers train on batches of {batch_size} together, {share} samples each")
    return Placed(node=f"{socket.gethostname()}, process {os.getpid()}", notes=tuple(notes), curve=resumed.curve)


@lru_cache(maxsize=4)
def _open(uri: str, endpoint_url: str | None) -> Storage:
    """Open the storage once per process: making an S3 client takes half a second of processor time."""
    return open_storage(uri, endpoint_url=endpoint_url)


@contextmanager
def _uploads(storage: Storage) -> Iterator[BackgroundUploader]:
    """An uploader that is given some time for its rest when the trial is stopped or fails."""
    uploader = BackgroundUploader(storage)
    try:
        yield uploader
    finally:
        with contextlib.suppress(StorageError):
            uploader.close(timeout_s=FLUSH_S)
