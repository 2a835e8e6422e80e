"""The smallest useful config of every task, one function of the task's name each; the contract tests run over them.

A function may write the files it needs into the folder it is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

TINY_NETWORK = {"segments": 2, "hidden": {"width": 8}}
TINY_TRAINING = {"max_epochs": 2, "batch_size": 64, "optimizer": {"name": "adam", "lr": 1e-2}}


def image(folder: Path) -> dict[str, Any]:
    return {"data": {"image": "sample:astronaut", "max_side": 16}}


def neighborhood(folder: Path) -> dict[str, Any]:
    return {"data": {"images": ["sample:astronaut"], "max_side": 24, "outside": 1}}


def random_interpolation(folder: Path) -> dict[str, Any]:
    return {"data": {"size": 8, "num_feature_pixels": 4, "samples_per_picture": 32, "val_samples_per_picture": 16}}


def text_to_image(folder: Path) -> dict[str, Any]:
    return {"data": {"max_side": 12, "max_images": 2, "text_model": "hashing", "embedding_size": 16}}
