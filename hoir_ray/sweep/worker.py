"""What runs where the trial runs: data, network, training, and the model pack that it leaves."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hoir_ray.checkpoint import write_pack
from hoir_ray.pictures import save_picture
from hoir_ray.storage import BackgroundUploader, Storage, open_storage
from hoir_ray.sweep.checkpoints import CHECKPOINT, Checkpoints
from hoir_ray.sweep.job import Job
from hoir_ray.task import Task, TaskConfig
from hoir_ray.tasks import load_task
from hoir_ray.trackers import build_trackers
from hoir_ray.training.data import TaskData
from hoir_ray.training.loop import Epoch, Fit, train

Report = Callable[[dict[str, Any]], None]


def train_worker(job: Job, report: Report) -> None:
    """Train one network and publish it.

    `report` gets one message per validated epoch and a last one when the model is in storage. It may raise
    SystemExit, when the sweep has decided to stop the trial.
    """
    torch.set_num_threads(max(1, int(job.cpus)))
    task = load_task(job.task)
    config = task.config.model_validate(job.config)
    storage = open_storage(job.storage_uri, endpoint_url=job.endpoint_url).child(job.sweep)
    with tempfile.TemporaryDirectory(prefix="hoir-trial-") as temp, BackgroundUploader(storage) as uploader:
        work = Path(temp)
        checkpoints = Checkpoints(storage, trial=job.trial, attempt=job.attempt)
        resumed = checkpoints.fetch(work / CHECKPOINT)
        curve = list(resumed.curve)
        first: dict[str, Any] = {
            "node": f"{socket.gethostname()}, process {os.getpid()}",
            "notes": resumed.notes,
            "curve": resumed.curve,
        }
        data = task.data(config)
        torch.manual_seed(config.training.seed)
        network = task.network(config)

        def on_epoch(epoch: Epoch) -> None:
            row = {"epoch": float(epoch.epoch), **{name: float(value) for name, value in epoch.metrics.items()}}
            curve.append(row)
            report({"row": row, **first})
            first.clear()

        fit = train(
            network,
            data,
            config.training,
            score=task.score,
            pictures=task.pictures,
            trackers=build_trackers(
                job.trackers,
                directory=_tracker_folder(storage, job, work),
                sweep=job.sweep,
                trial=job.trial,
                parameters=job.parameters,
            ),
            metric=job.metric,
            goal=job.goal,
            on_epoch=on_epoch,
            checkpoint=work / CHECKPOINT,
            on_checkpoint=lambda path, epoch: checkpoints.save(uploader, path, epoch=epoch, curve=curve),
            hyperparameters=config.model_dump(mode="json"),
        )
        publish(storage, job, task=task, config=config, data=data, network=network, fit=fit, work=work)
        uploader.flush()
        checkpoints.keep_newest()
    reason = f"best {job.metric} {fit.best_metrics[job.metric]:.6g} at epoch {fit.best_epoch} of {fit.epochs}"
    early = ", stopped early" if fit.stopped_early else ""
    report({"finished": reason + early, "model": f"models/{job.trial}", **first})


def publish(
    storage: Storage,
    job: Job,
    *,
    task: Task[Any],
    config: TaskConfig,
    data: TaskData,
    network: torch.nn.Module,
    fit: Fit,
    work: Path,
) -> None:
    """Write the best epoch's model pack into storage, its manifest last, and its picture beside the checkpoints."""
    pictures = task.pictures(network, data)
    pack = work / "pack"
    write_pack(
        pack,
        task=task,
        config=config,
        facts=data.facts,
        state=fit.state,
        metrics={"epoch": float(fit.best_epoch), **fit.best_metrics},
        preview=pictures["preview"],
    )
    storage.put_folder(f"models/{job.trial}", pack)
    save_picture(pictures.get("comparison", pictures["preview"]), work / "render.png")
    storage.put_file(f"trials/{job.trial}/render.png", work / "render.png")


def _tracker_folder(storage: Storage, job: Job, work: Path) -> Path:
    """In the sweep's own folder where storage is one, so that curves are there while it runs."""
    if storage.uri.startswith("s3://"):
        return work / "trackers"
    return Path(storage.uri) / "trackers"
