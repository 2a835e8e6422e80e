"""Training of a task's network: what `hoir train` does, and what each worker of a trial does."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from hoir_ray.tasks.contract import Task, TaskConfig
from hoir_ray.training.data import TaskData
from hoir_ray.training.loop import NO_HOOKS, Distributed, Fit, Hooks, Measured, train


def fit(
    task: Task[Any],
    config: TaskConfig,
    data: TaskData,
    hooks: Hooks = NO_HOOKS,
    *,
    distributed: Distributed | None = None,
) -> tuple[nn.Module, Fit]:
    """Build the network that `config` and its seed describe, and train it on `data`.

    Returns:
        The network, on the CPU with the weights of the best epoch, and the training's outcome.

    Raises:
        DivergedError, SpecError, PackError: As `train`.
    """
    torch.manual_seed(config.training.seed)
    network = task.network(config)
    measured = Measured(
        score=task.score,
        measure=task.measure,
        pictures=task.pictures,
        hyperparameters=config.model_dump(mode="json"),
    )
    return network, train(network, data, config.training, measured, hooks, distributed=distributed)
