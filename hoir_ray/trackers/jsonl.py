"""Curves as JSON lines, pictures as PNG files: readable without a program and easy to load into any."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from torch import Tensor

from hoir_ray import config as configuration
from hoir_ray.machine.files import append_regular, read_regular, replacing
from hoir_ray.pictures.save import save_picture
from hoir_ray.trackers import Tracker

_MAX_BYTES = 2**30


class Config(configuration.Config):
    """Options under `trackers.jsonl`."""

    images: bool = True


class JsonlLogger(Logger):
    """One line per epoch in `metrics.jsonl`; a trial that resumes from a checkpoint replaces what it repeats."""

    def __init__(self, folder: Path, *, trial: str) -> None:
        super().__init__()
        self._folder, self._trial = folder, trial
        self._file = folder / "metrics.jsonl"
        self._last_epoch: int | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def name(self) -> str:
        return "jsonl"

    @property
    def version(self) -> str:
        return self._trial

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        values = vars(params) if isinstance(params, Namespace) else params
        _write(self._folder / "config.json", values)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        epoch = int(step or 0)
        if self._last_epoch is None or epoch <= self._last_epoch:
            self._drop_from(epoch)
        with append_regular(self._file) as file:
            file.write((json.dumps({"epoch": epoch, **metrics}) + "\n").encode())
        self._last_epoch = epoch

    def _drop_from(self, epoch: int) -> None:
        if not self._file.exists():
            return
        text = read_regular(self._file, max_bytes=_MAX_BYTES).decode()
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        kept = [line for line in whole if json.loads(line)["epoch"] < epoch]
        with replacing(self._file) as file:
            file.write("".join(kept).encode())


class JsonlTracker:
    """`<trial>/metrics.jsonl`, the sweep's choices in `parameters.json`, all in `config.json`, and `images/`."""

    def __init__(self, folder: Path, *, trial: str, config: Config) -> None:
        self._logger = JsonlLogger(folder, trial=trial)
        self._images = folder / "images" if config.images else None

    @property
    def logger(self) -> Logger:
        return self._logger

    def log_images(self, images: Mapping[str, Tensor], *, step: int) -> None:
        if self._images is None:
            return
        for name, image in images.items():
            save_picture(image, self._images / f"{name}-{step:06d}.png")

    def close(self) -> None:
        """Do nothing: every line is already in its file."""


def build(
    config: Config, *, directory: Path, sweep: str, trial: str, run: str, parameters: Mapping[str, Any]
) -> Tracker:
    folder = directory / "jsonl" / trial
    tracker = JsonlTracker(folder, trial=trial, config=config)
    _write(folder / "parameters.json", {"sweep": sweep, "trial": trial, **parameters})
    return tracker


def _write(path: Path, values: Mapping[str, Any]) -> None:
    with replacing(path, durable=False) as file:
        file.write((json.dumps(values, indent=2) + "\n").encode())
