"""Pictures drawn coarse to fine by a network of the sampler `nearest`: few pixels are known, then more, then all.

Each stage draws a third as many pixels as are known, from the nearest known ones, by the network's mean and spread. The
spread is drawn with one number for all three channels, since pixels deviate mostly in brightness.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from hoir_ray.pictures.colours import from_bytes
from hoir_ray.tasks.random_interpolation.config import RandomInterpolationData
from hoir_ray.tasks.random_interpolation.nearest import positions_of_nearest
from hoir_ray.training.predict import device_and_dtype

GROWTH = 3
TARGETS_AT_A_TIME = 8192
CELLS = 4  # of a layout, along each side
MAX_COMPONENTS = 8


@torch.no_grad()
def grow(
    network: nn.Module,
    known: Int64[Tensor, " known"],
    colours: Float[Tensor, "known 3"],
    *,
    config: RandomInterpolationData,
    side: int,
    temperature: float,
    generator: torch.Generator,
) -> Iterator[Float[Tensor, "side side 3"]]:
    """Yield the picture at every stage, pixels that are not drawn yet in the colour of the nearest known one.

    Args:
        known: Numbers of the known pixels, row by row; at least as many as the network has feature pixels.
        colours: In [-1, 1].
        temperature: 0 draws means, all pixels in one stage from those known at the start.
        generator: Of the order of pixels and of the spread.
    """
    picture = torch.zeros(side * side, 3)
    picture[known] = colours
    order = torch.randperm(side * side, generator=generator)
    missing = order[~torch.isin(order, known)]
    yield _filled(picture, known, missing, side=side)
    while len(missing):
        num = len(missing) if temperature == 0 else max(1, len(known) // GROWTH)
        now, missing = missing[:num], missing[num:]
        for part in torch.split(now, TARGETS_AT_A_TIME):
            mean, spread = _guess(network, picture, known, part, config=config, side=side)
            by = torch.randn(len(part), 1, generator=generator)
            picture[part] = (mean + temperature * spread * by).clamp(-1, 1)
        known = torch.cat([known, now])
        yield _filled(picture, known, missing, side=side)


def _guess(
    network: nn.Module, picture: Tensor, known: Tensor, targets: Tensor, *, config: RandomInterpolationData, side: int
) -> tuple[Tensor, Tensor]:
    """Mean and spread (batch, 3) of the targets' colours, on the CPU."""
    device, dtype = device_and_dtype(network)
    seen = known[_nearest(known, targets, num=config.num_feature_pixels, side=side)]
    down = (seen // side - (targets // side).unsqueeze(1)).int()
    right = (seen % side - (targets % side).unsqueeze(1)).int()
    relative = positions_of_nearest(down, right, side=side, num_rotations=config.num_rotations)
    mean, square = (
        network(torch.cat([picture[seen].flatten(1), relative], dim=1).to(device, dtype)).cpu().float().chunk(2, dim=1)
    )
    return mean, (square - mean * mean).clamp_(min=0).sqrt()


def _nearest(known: Tensor, targets: Tensor, *, num: int, side: int) -> Int64[Tensor, "targets num"]:
    from scipy.spatial import KDTree  # here because training does not need it

    def places(pixels: Tensor) -> np.ndarray:
        return torch.stack([pixels // side, pixels % side], dim=1).numpy()

    found = min(num, len(known))  # in a picture of fewer pixels than features, some serve twice
    _, index = KDTree(places(known)).query(places(targets), k=found)
    return torch.from_numpy(index).view(len(targets), found)[:, torch.arange(num) % found]


def _filled(picture: Tensor, known: Tensor, missing: Tensor, *, side: int) -> Tensor:
    shown = picture.clone()
    if len(missing):
        shown[missing] = picture[known[_nearest(known, missing, num=1, side=side)[:, 0]]]
    return shown.view(side, side, 3)


def layout_of(pictures: UInt8[Tensor, "pictures side side 3"]) -> str:
    """Mean and principal components of the pictures shrunk to 4x4 cells, in [-1, 1]: where drawings from noise begin.

    Returns:
        Rows of 48 float32, the mean and then each component times its standard deviation, in base64.
    """
    shrunk = from_bytes(nn.functional.adaptive_avg_pool2d(pictures.permute(0, 3, 1, 2).float(), CELLS))
    cells = shrunk.permute(0, 2, 3, 1).flatten(1).double()
    mean = cells.mean(dim=0, keepdim=True)
    _, size, components = torch.linalg.svd(cells - mean, full_matrices=False)
    scaled = components * (size / max(1, len(cells) - 1) ** 0.5).unsqueeze(1)
    rows = torch.cat([mean, scaled[: min(MAX_COMPONENTS, len(cells) - 1)]])
    return base64.b64encode(rows.numpy().astype("<f4").tobytes()).decode()


def first_pixels(
    layout: str, *, side: int, num: int, generator: torch.Generator
) -> tuple[Int64[Tensor, " num"], Float[Tensor, "num 3"]]:
    """Random pixels with the colours that a random layout of the training pictures has there."""
    rows = torch.from_numpy(np.frombuffer(base64.b64decode(layout), dtype="<f4").copy()).view(-1, CELLS * CELLS * 3)
    by = torch.randn(len(rows) - 1, generator=generator)
    cells = (rows[0] + by @ rows[1:]).clamp(-1, 1).view(CELLS, CELLS, 3)
    pixels = torch.randperm(side * side, generator=generator)[:num]
    return pixels, cells[pixels // side * CELLS // side, pixels % side * CELLS // side]
