"""The learning rate as a function of how far training is, so that a resumed or re-batched trial needs no step count."""

from __future__ import annotations

import math

from hoir_ray.training.config import (
    CosineSchedule,
    ExponentialSchedule,
    PlateauSchedule,
    SchedulerConfig,
)


class Schedule:
    """Multiplies the optimizer's own rate.

    Attributes:
        state: What `plateau` has seen so far; plain numbers, part of a checkpoint.
    """

    def __init__(self, config: SchedulerConfig, *, max_epochs: int) -> None:
        self._config, self._max_epochs = config, max_epochs
        self.state = {"lowest_loss": math.inf, "epochs_without": 0, "factor": 1.0}

    def factor(self, epoch: float) -> float:
        """The factor at `epoch`, 0 at the start of training and fractional within an epoch."""
        config = self._config
        if isinstance(config, CosineSchedule):
            falling = (1 + math.cos(math.pi * min(1.0, epoch / self._max_epochs))) / 2
            return config.final_fraction + (1 - config.final_fraction) * falling
        if isinstance(config, ExponentialSchedule):
            return config.gamma ** int(epoch)
        return self.state["factor"]

    def end_epoch(self, train_loss: float) -> None:
        """Give `plateau` the epoch's loss; the other schedules ignore it."""
        if not isinstance(self._config, PlateauSchedule):
            return
        state = self.state
        if train_loss < state["lowest_loss"]:
            state["lowest_loss"], state["epochs_without"] = train_loss, 0
            return
        state["epochs_without"] += 1
        if state["epochs_without"] > self._config.patience:
            state["factor"], state["epochs_without"] = state["factor"] * self._config.factor, 0
