"""The picture as the network draws it, at any size, and next to the original."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hoir_ray.pictures.colours import shown
from hoir_ray.pictures.coordinates import extent_of, rotated_axes
from hoir_ray.pictures.region import WHOLE, Region, parse_region, size_of_region
from hoir_ray.pictures.strips import check_drawn_size, draw_in_strips
from hoir_ray.tasks.contract import PANEL_GAP
from hoir_ray.tasks.image.config import ImageConfig, ImageFacts, RenderOptions
from hoir_ray.tasks.image.data import Pixels
from hoir_ray.training.data import TaskData
from hoir_ray.training.predict import device_and_dtype, predict

ERROR_GAIN = 4  # a difference of a quarter of the range is already white


def render(
    network: nn.Module, config: ImageConfig, facts: ImageFacts, options: RenderOptions
) -> Float[Tensor, "1 height width 3"]:
    """One frame in [0, 1] on the CPU.

    Raises:
        RequestError: If the size asked for has a side shorter than 2 pixels, or more pixels than a picture may have.
    """
    region = WHOLE if options.region is None else parse_region(options.region)
    width, height = _size(facts, options, region)
    extent = extent_of(facts.height, facts.width)
    device, dtype = device_and_dtype(network)

    def colours(positions: Tensor) -> Tensor:
        return shown(network(positions.to(device, dtype)).float().cpu())

    with torch.inference_mode():
        frame = draw_in_strips(
            colours,
            height=height,
            width=width,
            num_rotations=config.data.num_rotations,
            extent=extent,
            region=region,
            dtype=dtype,
        )
    return frame.unsqueeze(0)


def _size(facts: ImageFacts, options: RenderOptions, region: Region) -> tuple[int, int]:
    if options.size is None:
        height, width = size_of_region(region, height=facts.height, width=facts.width)
    else:
        width, height = map(int, options.size.split("x"))
    check_drawn_size(height, width, source="--size" if options.size else "the pack's facts")
    return width, height


def pictures(network: nn.Module, data: TaskData) -> dict[str, Tensor]:
    """`preview`: the fit; `comparison`: original, fit, and four times their difference, side by side."""
    assert isinstance(data.val, Pixels)
    prediction, target = predict(network, data.val)
    assert isinstance(data.facts, ImageFacts)
    height, width = data.facts.height, data.facts.width
    fit, original = (shown(x).view(height, width, 3).cpu() for x in (prediction, target))
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
    return shown(network(torch.stack(axes, dim=1)))


def views(facts: ImageFacts) -> dict[str, tuple[int, int]]:
    """Height and width of the picture, which has no caption."""
    return {"": (facts.height, facts.width)}
