"""Pixels by number: positions in, colours out, both kept on the device."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hoir_ray.errors import DataError
from hoir_ray.pictures.colours import from_bytes, shown
from hoir_ray.pictures.coordinates import pixel_positions
from hoir_ray.pictures.load import load_picture, picture_path
from hoir_ray.pictures.quality import mse, psnr_db, ssim
from hoir_ray.tasks.image.config import ImageConfig, ImageData, ImageFacts
from hoir_ray.training.data import Batch, Samples, TaskData

_PICTURES_KEPT = 2  # a process trains many trials on the same picture


class Pixels(Samples):
    """Positions in [-1, 1] and colours in [-1, 1] of all pixels of a picture, row by row."""

    positions: Float[Tensor, "pixels axes"]
    colours: Float[Tensor, "pixels 3"]

    def __init__(self, positions: Tensor, colours: Tensor) -> None:
        super().__init__()
        self.num_samples = len(colours)
        self.register_buffer("positions", positions)
        self.register_buffer("colours", colours)

    def forward(self, index: Tensor) -> Batch:
        return (self.positions.index_select(0, index),), self.colours.index_select(0, index)

    @property
    def whole(self) -> Batch:
        return (self.positions,), self.colours


def load(config: ImageConfig) -> TaskData:
    """The picture; validation is the whole of it, in order.

    Raises:
        DataError: If it cannot be read, or has a side shorter than 2 pixels.
    """
    source = config.data.image
    try:
        stat = picture_path(source).stat()
    except OSError:
        return _read(config.data)  # which says what is wrong with the path
    return _load(config.data.model_copy(update={"image": _absolute(source)}), stat.st_mtime_ns, stat.st_size)


def original(config: ImageConfig) -> UInt8[Tensor, "height width 3"]:
    """The picture as it is trained on, shrunk where `max_side` says so.

    Raises:
        DataError: If it cannot be read.
    """
    return load_picture(config.data.image, max_side=config.data.max_side)


def num_pixels(config: ImageConfig) -> int | None:
    """Pixels of the picture at the size that it is trained at; None where it cannot be read."""
    try:
        return load(config).facts.num_pixels
    except DataError:
        return None


def num_samples(config: ImageConfig) -> int:
    """Pixels of the picture; errors as in `load`."""
    return load(config).train.num_samples


def _absolute(source: str) -> str:
    return source if source.startswith("sample:") else str(Path(source).expanduser().absolute())


@functools.lru_cache(maxsize=_PICTURES_KEPT)
def _load(data: ImageData, mtime_ns: int, size_bytes: int) -> TaskData:
    return _read(data)


def _read(data: ImageData) -> TaskData:
    picture = load_picture(data.image, max_side=data.max_side)
    height, width, _ = picture.shape
    if min(height, width) < 2:
        raise DataError(f"{data.image}: both sides must be at least 2 pixels, got {width} x {height}")
    positions = pixel_positions(height, width, num_rotations=data.num_rotations)
    pixels = Pixels(positions, from_bytes(picture.flatten(0, 1)))
    return TaskData(train=pixels, val=pixels, facts=ImageFacts(height=height, width=width, num_pixels=height * width))


def score(prediction: Tensor, target: Tensor, data: TaskData) -> dict[str, float]:
    """Mean squared error on [-1, 1]; PSNR and SSIM of the picture as it would be shown, cut off at black and white."""
    fit, true = shown(prediction), shown(target)
    assert isinstance(data.facts, ImageFacts)
    shape = torch.Size((data.facts.height, data.facts.width, 3))
    return {
        "val_loss": mse(prediction, target),
        "val_psnr_db": psnr_db(fit, true),
        "val_ssim": ssim(fit.view(shape), true.view(shape)),
    }
