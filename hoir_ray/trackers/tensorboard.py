"""TensorBoard: `tensorboard --logdir <storage>/<sweep>/trackers/tensorboard` shows every trial of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch import Tensor

from hoir_ray import config as configuration
from hoir_ray.tracker import Tracker


class Config(configuration.Config):
    """Options under `trackers.tensorboard`."""

    images: bool = True


class TensorBoardTracker:
    """Scalars and pictures of a trial in a folder of its own."""

    def __init__(self, directory: Path, *, trial: str, config: Config) -> None:
        self._logger = TensorBoardLogger(save_dir=directory, name="tensorboard", version=trial, default_hp_metric=False)
        self._images = config.images

    @property
    def logger(self) -> Logger:
        return self._logger

    def log_images(self, images: Mapping[str, Tensor], *, step: int) -> None:
        for name, image in images.items() if self._images else ():
            self._logger.experiment.add_image(name, image, global_step=step, dataformats="HWC")

    def close(self) -> None:
        self._logger.experiment.close()


def build(config: Config, *, directory: Path, sweep: str, trial: str, parameters: Mapping[str, Any]) -> Tracker:
    tracker = TensorBoardTracker(directory, trial=trial, config=config)
    tracker.logger.log_hyperparams({"sweep": sweep, **parameters})
    return tracker
