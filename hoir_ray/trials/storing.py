"""The stored form of a trial's network: made where its metrics are asked for, or its training is to be rounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from hoir_ray.packs.pack import Pack
from hoir_ray.packs.quantization.form import Form, find_form, find_tuned_form
from hoir_ray.packs.quantization.goal import Goal
from hoir_ray.tasks.contract import Task, TaskConfig
from hoir_ray.training.data import TaskData


def stored_form(*, task: Task[Any], config: TaskConfig, data: TaskData, network: nn.Module, folder: Path) -> Form:
    """The form of the usual trade, or as `training.quantization` says; the network keeps its weights.

    Args:
        folder: Of the trial, for messages.
    """
    pack = Pack(task=task, config=config, network=network.eval(), facts=data.facts, metrics={}, folder=folder)
    quantization = config.training.quantization
    if quantization is None:
        return find_form(pack, data, goal=Goal())
    return find_tuned_form(pack, data, goal=Goal(trade=quantization.trade), quantization=quantization)
