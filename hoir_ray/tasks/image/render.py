"""The picture as the network draws it, at any size, and next to the original."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hoir_ray.pictures.strips import check_drawn_size, draw_in_strips
from hoir_ray.tasks.image.config import PANEL_GAP, ImageConfig, RenderOptions
from hoir_ray.tasks.image.data import Pixels
from hoir_ray.training.data import Facts, TaskData
from hoir_ray.training.predict import device_and_dtype, predict

ERROR_GAIN = 4  # a difference of a quarter of the range is already white


def render(
    network: nn.Module, config: ImageConfig, facts: Facts, options: RenderOptions
) -> Float[Tensor, "1 height width 3"]:
    """One frame in [0, 1] on the CPU.

    Raises:
        RequestError: If the size asked for has a side shorter than 2 pixels, or more pixels than a picture may have.
    """
    width, height = _size(facts, options)
    device, dtype = device_and_dtype(network)

    def colours(positions: Tensor) -> Tensor:
        return _shown(network(positions.to(device, dtype)).float().cpu())

    with torch.inference_mode():
        frame = draw_in_strips(colours, height=height, width=width, num_rotations=config.data.num_rotations)
    return frame.unsqueeze(0)


def _size(facts: Facts, options: RenderOptions) -> tuple[int, int]:
    if options.size is None:
        width, height = int(facts["width"]), int(facts["height"])  # type: ignore[arg-type]
    else:
        width, height = map(int, options.size.split("x"))
    check_drawn_size(height, width, source="--size" if options.size else "the pack's facts")
    return width, height


def pictures(network: nn.Module, data: TaskData) -> dict[str, Tensor]:
    """`preview`: the fit; `comparison`: original, fit, and four times their difference, side by side."""
    assert isinstance(data.val, Pixels)
    prediction, target = predict(network, data.val)
    height, width = int(data.facts["height"]), int(data.facts["width"])  # type: ignore[arg-type]
    fit, original = (_shown(x).view(height, width, 3).cpu() for x in (prediction, target))
    error = ((fit - original).abs() * ERROR_GAIN).clamp(0, 1)
    gap = torch.ones(height, PANEL_GAP, 3)
    return {"preview": fit, "comparison": torch.cat([original, gap, fit, gap, error], dim=1)}


def _shown(colours: Tensor) -> Tensor:
    return ((colours + 1) / 2).clamp(0, 1)
