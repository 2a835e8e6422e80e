"""The network drawn at the size of the picture before `max_side` shrank it, against that picture."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Set
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from hoir_ray.errors import DataError
from hoir_ray.networks.resolve import has_seams
from hoir_ray.pictures.colours import shown
from hoir_ray.pictures.coordinates import positions_before_shrinking
from hoir_ray.pictures.load import file_stamps, load_picture, picture_path, picture_size
from hoir_ray.pictures.quality import psnr_db_of_mse
from hoir_ray.pictures.save import to_image
from hoir_ray.spec.stored import ENLARGED
from hoir_ray.tasks.image.config import ImageConfig, ImageData, ImageFacts
from hoir_ray.tasks.image.data import Pixels
from hoir_ray.training.data import Samples, TaskData
from hoir_ray.training.predict import predict

MAX_UNASKED = 2**20  # pixels that are drawn in a second or so, and so measured without being asked for
_PIXELS_AT_A_TIME = 2**16
_SIZES_KEPT = 64


def measure_end(network: nn.Module, config: ImageConfig, data: TaskData, asked: bool) -> dict[str, float]:
    """`val_full_psnr_db` of the network, and `val_full_bicubic_psnr_db` of its own small picture enlarged.

    Each pixel of the original is taken at its place in the shrunk picture, as resizing a picture takes it, so that
    both are compared with the same thing; the outermost ones, which lie beyond, at the border.

    Args:
        asked: Whether the sweep needs them, however large the original is.

    Returns:
        Nothing where the picture was not shrunk.

    Raises:
        DataError: If the original cannot be read.
    """
    size = _size(config.data)
    is_small = size is not None and math.prod(size) <= MAX_UNASKED
    if not (asked or is_small) or not (_shrinks(config.data, size) or size is None):
        return {}
    original = load_picture(config.data.image)
    assert isinstance(data.facts, ImageFacts)
    small = to_image(_shown(network, data.val).view(data.facts.height, data.facts.width, 3))
    height, width, _ = original.shape
    errors = torch.zeros(len(ENLARGED), dtype=torch.float64)
    num_rows = max(1, _PIXELS_AT_A_TIME // width)
    for first in range(0, height, num_rows):
        rows = slice(first, min(first + num_rows, height))
        true = original[rows].float() / 255
        positions = positions_before_shrinking(
            height, width, shrunk=(small.height, small.width), num_rotations=config.data.num_rotations, rows=rows
        )
        drawn = _shown(network, Pixels(positions, true.flatten(0, 1))).view_as(true)
        for number, enlarged in enumerate((drawn, _bicubic(small, height, width, rows=rows))):
            errors[number] += (enlarged - true).square_().sum(dtype=torch.float64)
    return {name: psnr_db_of_mse(float(e) / original.numel()) for name, e in zip(ENLARGED, errors, strict=True)}


def unmeasured(config: ImageConfig, names: Set[str]) -> dict[str, str]:
    """The metrics of the enlarged picture where `max_side` does not shrink it, and why they are not measured."""
    asked = names & ENLARGED.keys()
    if not asked:  # nor is the picture's file looked at
        return {}
    if config.data.max_side is None:
        return dict.fromkeys(asked, "data.max_side has to shrink the picture")
    size = _size(config.data)
    if size is None or _shrinks(config.data, size):
        return {}
    return dict.fromkeys(asked, f"data.max_side has to be below {max(size)}, the picture's longer side")


def warnings_of(config: ImageConfig) -> Iterator[str]:
    """Discontinuous layers in a network of a shrunk picture, which is likely to be drawn larger."""
    if has_seams(config.network) and _shrinks(config.data, _size(config.data)):
        yield (
            f"data.max_side: shrinks the picture to {config.data.max_side}; discontinuous layers show seams where it "
            "is drawn larger, and continuous ones do not"
        )


def _shrinks(data: ImageData, size: tuple[int, int] | None) -> bool:
    return size is not None and data.max_side is not None and max(size) > data.max_side


def _size(data: ImageData) -> tuple[int, int] | None:
    """The sides of the picture's file in pixels; None where it cannot be read here."""
    try:
        return _size_of_file(picture_path(data.image), file_stamps([picture_path(data.image)]))
    except DataError:
        return None


@functools.lru_cache(maxsize=_SIZES_KEPT)
def _size_of_file(path: Path, stamps: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    return picture_size(path)


def _shown(network: nn.Module, samples: Samples) -> Float[Tensor, "pixels 3"]:
    prediction, _ = predict(network, samples)
    return shown(prediction).cpu()


def _bicubic(small: Image.Image, height: int, width: int, *, rows: slice) -> Float[Tensor, "rows width 3"]:
    """Rows of a picture enlarged to (height, width), of which the rest is not made."""
    top, bottom = (row * small.height / height for row in (rows.start, rows.stop))
    size = width, rows.stop - rows.start
    strip = small.resize(size, Image.Resampling.BICUBIC, box=(0, top, small.width, bottom))
    return torch.from_numpy(np.array(strip)).float() / 255
