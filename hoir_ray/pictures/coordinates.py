"""Coordinates of pixels: the inputs of every network that represents a picture."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def pixel_positions(
    height: int,
    width: int,
    *,
    num_rotations: int = 1,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "{height}*{width} 2*{num_rotations}"]:
    """Pixel-centre coordinates of an image, row by row, with rotated axes appended.

    The outermost pixels lie at -1 and 1 whatever the picture's shape, so that each axis uses a layer's whole range.

    Args:
        height: Rows, in pixels; at least 2.
        width: Columns, in pixels; at least 2.
        num_rotations: Axis pairs; 1 gives (x, y), 2 adds the diagonals, each scaled back into [-1, 1].

    Returns:
        Unitless positions; columns 2r and 2r + 1 are the axes of rotation r.

    Raises:
        ValueError: If a side is shorter than 2 pixels or `num_rotations` < 1.

    Source: the mesh of positions in high-order-layers-torch 2.6.0, which at rotation 0 has one axis twice.
    """
    if min(height, width) < 2:
        raise ValueError(f"both sides must be at least 2 pixels, got {width} x {height}")
    if num_rotations < 1:
        raise ValueError(f"num_rotations: must be >= 1, got {num_rotations}")
    # In float64 first: rounding differently from one device to another would move pixels over a segment's border.
    longest = max(height, width) - 1
    y = torch.linspace(-1, 1, height, dtype=torch.float64).mul_((height - 1) / longest)[:, None]
    x = torch.linspace(-1, 1, width, dtype=torch.float64).mul_((width - 1) / longest)[None, :]
    positions = torch.empty(height, width, 2 * num_rotations, dtype=dtype)
    for rotation in range(num_rotations):
        angle = math.pi / 2 * rotation / num_rotations
        cos, sin = math.cos(angle), math.sin(angle)
        for column, axis in ((0, cos * x + sin * y), (1, cos * y - sin * x)):
            positions[..., 2 * rotation + column] = axis / axis.abs().max()
    return positions.flatten(0, 1).to(device)
