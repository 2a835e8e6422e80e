"""TensorBoard: `tensorboard --logdir <storage>/<sweep>/trackers/tensorboard` shows every trial of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from hoir_ray import config as configuration
from hoir_ray.trackers import Tracker


class Config(configuration.Config):
    """Options under `trackers.tensorboard`."""

    images: bool = True


class _Logger(TensorBoardLogger):
    """Opens its file with the first row, from which on TensorBoard then forgets what files before it hold.

    So the epochs that a resumed trial repeats are shown once.
    """

    def __init__(self, directory: Path, *, trial: str, about: str) -> None:
        super().__init__(save_dir=directory, name="tensorboard", version=trial, default_hp_metric=False)
        self._about = about

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self._experiment is None:
            self._kwargs["purge_step"] = step
            self.experiment.add_text("parameters", self._about)
        super().log_metrics(metrics, step)


class TensorBoardTracker:
    """Scalars and pictures of a trial in a folder per trial."""

    def __init__(self, directory: Path, *, trial: str, about: str, config: Config) -> None:
        self._logger = _Logger(directory, trial=trial, about=about)
        self._images = config.images

    @property
    def logger(self) -> TensorBoardLogger:
        return self._logger

    def log_images(self, images: Mapping[str, Tensor], *, step: int) -> None:
        if not self._images:
            return
        for name, image in images.items():
            self._logger.experiment.add_image(name, image, global_step=step, dataformats="HWC")

    def close(self) -> None:
        self._logger.experiment.close()


def build(
    config: Config, *, directory: Path, sweep: str, trial: str, run: str, parameters: Mapping[str, Any]
) -> Tracker:
    chosen = "\n".join(f"    {path}: {value}" for path, value in parameters.items())
    return TensorBoardTracker(directory, trial=trial, about=f"sweep {sweep}, trial {trial}\n\n{chosen}", config=config)
