"""Pictures drawn in strips of rows, within a limit of pixels that is checked before anything is allocated."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from hoir_ray.errors import RequestError
from hoir_ray.pictures.coordinates import pixel_positions
from hoir_ray.pictures.load import MAX_PIXELS
from hoir_ray.pictures.region import WHOLE, Region

_POSITIONS_AT_A_TIME = 16_384


def check_drawn_size(height: int, width: int, *, num_frames: int = 1, source: str) -> None:
    """Refuse a picture, or several frames of it, that would be too large to draw.

    Args:
        source: What asks for this size, for the message.

    Raises:
        RequestError: If a side is shorter than 2 pixels, or all frames have more than 100 million together.
    """
    if min(height, width) < 2:
        raise RequestError(f"{source}: both sides must be at least 2 pixels, got {width}x{height}")
    if height * width * num_frames > MAX_PIXELS:
        frames = f" in {num_frames:,} frames" if num_frames > 1 else ""
        raise RequestError(f"{source}: at most {MAX_PIXELS:,} pixels are drawn, got {width}x{height}{frames}")


def draw_in_strips(
    colours: Callable[[Float[Tensor, "pixels axes"]], Float[Tensor, "pixels 3"]],
    *,
    height: int,
    width: int,
    num_rotations: int,
    extent: tuple[float, float] | None = None,
    region: Region = WHOLE,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "height width 3"]:
    """The colours that a function of positions has over a picture, of which a strip is held at a time beside it.

    Args:
        extent, region, dtype: As `pixel_positions` takes them.
    """
    picture = torch.empty(height, width, 3)
    num_rows = max(1, _POSITIONS_AT_A_TIME // width)
    for first in range(0, height, num_rows):
        rows = slice(first, first + num_rows)
        positions = pixel_positions(
            height, width, num_rotations=num_rotations, rows=rows, extent=extent, region=region, dtype=dtype
        )
        picture[rows] = colours(positions).view(-1, width, 3)
    return picture
