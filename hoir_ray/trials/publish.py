"""Publication of a trial's model pack and picture, its manifest last."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hoir_ray.errors import StorageError
from hoir_ray.packs.pack import write_pack
from hoir_ray.packs.quantization.form import Form
from hoir_ray.pictures.save import save_picture
from hoir_ray.results.pull import STORED
from hoir_ray.results.record import picture_of
from hoir_ray.storage import BackgroundUploader, open_storage
from hoir_ray.tasks.contract import Task, TaskConfig
from hoir_ray.training.data import TaskData
from hoir_ray.training.loop import Fit
from hoir_ray.trials.attempt import Attempt

PUBLISH_S = 600.0  # for the model of one that has finished


def publish(
    uploader: BackgroundUploader,
    attempt: Attempt,
    *,
    task: Task[Any],
    config: TaskConfig,
    data: TaskData,
    network: torch.nn.Module,
    fit: Fit,
    form: Form | None,
    at_end: Mapping[str, float],
    work: Path,
) -> str | None:
    """Write the best epoch's model pack into storage, its manifest last, and its picture beside the checkpoints.

    Args:
        at_end: Metrics that were measured once training had ended.
        form: The network's one small file, which goes below the pack's key and is none of the pack's own files.

    Returns:
        Why storage did not take it, in which case it was put aside on this machine; None if all is well.
    """
    pictures = task.pictures(network, data)
    pack = work / "pack"
    write_pack(
        pack,
        task=task,
        config=config,
        facts=data.facts,
        state=fit.state,
        metrics={"epoch": float(fit.best_epoch), **fit.best_metrics, **at_end},
        preview=pictures["preview"],
    )
    save_picture(pictures.get("comparison", pictures["preview"]), work / "render.png")

    model = attempt.model
    files = {picture_of(model): work / "render.png"}
    if form is not None:
        (work / STORED).write_bytes(form.content)
        files[f"{model}/{STORED}"] = work / STORED
    for key, path in files.items():
        uploader.put_file(key, path)
    uploader.put_folder(model, pack)
    with contextlib.suppress(StorageError):
        uploader.flush(timeout_s=PUBLISH_S)
    missing = [key for key in (model, *files) if key in uploader.missing]
    if not missing:
        return None
    aside = open_storage(attempt.unsaved)
    aside.put_folder(model, pack)
    for key, path in files.items():
        aside.put_file(key, path)
    return str(uploader.failures.get(missing[0], f"'{missing[0]}' was not uploaded within {PUBLISH_S:g} s"))
