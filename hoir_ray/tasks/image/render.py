"""The picture as the network draws it, at any size, and next to the original."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hoir_ray.errors import RequestError
from hoir_ray.pictures.coordinates import extent_of, pixel_positions, rotated_axes
from hoir_ray.pictures.load import MAX_PIXELS
from hoir_ray.tasks.contract import PANEL_GAP
from hoir_ray.tasks.image.config import ImageConfig, ImageFacts, RenderOptions
from hoir_ray.tasks.image.data import Pixels
from hoir_ray.training.data import TaskData
from hoir_ray.training.predict import device_and_dtype, predict

ERROR_GAIN = 4  # a difference of a quarter of the range is already white
_ROWS_AT_A_TIME = 65_536


def render(
    network: nn.Module, config: ImageConfig, facts: ImageFacts, options: RenderOptions
) -> Float[Tensor, "1 height width 3"]:
    """One frame in [0, 1] on the CPU.

    Raises:
        RequestError: If the size asked for has a side shorter than 2 pixels, or more pixels than a picture may have.
    """
    width, height = _size(facts, options)
    extent = extent_of(facts.height, facts.width)
    positions = pixel_positions(height, width, num_rotations=config.data.num_rotations, extent=extent)
    device, dtype = device_and_dtype(network)
    with torch.inference_mode():
        blocks = [network(p.to(device, dtype)).float().cpu() for p in torch.split(positions, _ROWS_AT_A_TIME)]
    return _shown(torch.cat(blocks)).view(1, height, width, 3)


def _size(facts: ImageFacts, options: RenderOptions) -> tuple[int, int]:
    if options.size is None:
        return facts.width, facts.height
    width, height = map(int, options.size.split("x"))
    if min(width, height) < 2 or width * height > MAX_PIXELS:
        raise RequestError(f"--size: sides must be >= 2 and pixels <= {MAX_PIXELS:,}, got {options.size}")
    return width, height


def pictures(network: nn.Module, data: TaskData) -> dict[str, Tensor]:
    """`preview`: the fit; `comparison`: original, fit, and four times their difference, side by side."""
    assert isinstance(data.val, Pixels)
    prediction, target = predict(network, data.val)
    assert isinstance(data.facts, ImageFacts)
    height, width = data.facts.height, data.facts.width
    fit, original = (_shown(x).view(height, width, 3).cpu() for x in (prediction, target))
    error = ((fit - original).abs() * ERROR_GAIN).clamp(0, 1)
    gap = torch.ones(height, PANEL_GAP, 3)
    return {"preview": fit, "comparison": torch.cat([original, gap, fit, gap, error], dim=1)}


def colours(
    network: nn.Module, config: ImageConfig, facts: ImageFacts, positions: Float[Tensor, "positions 2"]
) -> Float[Tensor, "positions 3"]:
    """Colours in [0, 1] at positions (x, y) in [-1, 1], from the picture's left and top to its right and bottom."""
    right, bottom = extent_of(facts.height, facts.width)
    axes = rotated_axes(
        positions[:, 0] * right,
        positions[:, 1] * bottom,
        num_rotations=config.data.num_rotations,
        corner=(right, bottom),
    )
    return _shown(network(torch.stack(axes, dim=1)))


def _shown(colours: Tensor) -> Tensor:
    return ((colours + 1) / 2).clamp(0, 1)
