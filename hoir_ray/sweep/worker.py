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
from hoir_ray.storage import BackgroundUploader, Storage, open_storage
from hoir_ray.sweep.checkpoints import Checkpoints
from hoir_ray.sweep.job import Job
from hoir_ray.task import Task
from hoir_ray.tasks import load_task
from hoir_ray.trackers import build_trackers
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
        _, passed_over = checkpoints.latest(work / "last.ckpt")
        where = {"node": socket.gethostname(), "pid": os.getpid(), "notes": passed_over}
        data = task.data(config)
        network = _seeded_network(task, config)
        trackers = build_trackers(
            job.trackers,
            directory=_tracker_folder(storage, job, work),
            sweep=job.sweep,
            trial=job.trial,
            parameters=job.parameters,
        )

        def on_epoch(epoch: Epoch) -> None:
            report({"trial": job.trial, "row": {"epoch": epoch.epoch, **epoch.metrics}, **where})

        def on_checkpoint(path: Path, epoch: int) -> None:
            checkpoints.save(uploader, path, epoch=epoch)

        fit = train(
            network,
            data,
            config.training,
            score=task.score,
            pictures=task.pictures,
            trackers=trackers,
            metric=job.metric,
            goal=job.goal,
            on_epoch=on_epoch,
            checkpoint=work / "last.ckpt",
            on_checkpoint=on_checkpoint,
            hyperparameters=config.model_dump(mode="json"),
        )
        publish(storage, job, task=task, config=config, data=data, network=network, fit=fit, work=work)
        uploader.flush()
        checkpoints.keep_newest()
    reason = f"best {job.metric} {fit.best_metrics[job.metric]:.6g} at epoch {fit.best_epoch} of {fit.epochs}"
    report({"trial": job.trial, "finished": reason, "model": f"models/{job.trial}"})


def publish(
    storage: Storage,
    job: Job,
    *,
    task: Task[Any],
    config: Any,
    data: Any,
    network: torch.nn.Module,
    fit: Fit,
    work: Path,
) -> None:
    """Write the best epoch's model pack into storage, its manifest last."""
    network.load_state_dict(fit.state)
    pictures = task.pictures(network, data)
    pack = work / "pack"
    write_pack(
        pack,
        task=task,
        config=config,
        facts=data.facts,
        state=fit.state,
        metrics={**fit.best_metrics, "epoch": fit.best_epoch},
        preview=pictures["preview"],
    )
    storage.put_folder(f"models/{job.trial}", pack)
    (work / "render.png").write_bytes(_png(pictures.get("comparison", pictures["preview"])))
    storage.put_file(f"trials/{job.trial}/render.png", work / "render.png")
