"""Coordinates of pixels: the inputs of every network that represents a picture."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from hoir_ray.pictures.region import WHOLE, Region


def pixel_positions(
    height: int,
    width: int,
    *,
    num_rotations: int = 1,
    rows: slice = slice(None),
    extent: tuple[float, float] | None = None,
    region: Region = WHOLE,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "{height}*{width} 2*{num_rotations}"]:
    """Pixel-centre coordinates of an image, row by row, with rotated axes appended.

    The outermost pixels lie at -1 and 1 whatever the picture's shape, so that each axis uses a layer's whole range.

    Args:
        height: Rows, in pixels; at least 2.
        width: Columns, in pixels; at least 2.
        num_rotations: Axis pairs; 1 gives (x, y), 2 adds the diagonals, each scaled back into [-1, 1].
        rows: The rows of the picture whose pixels are wanted, so that a large one is drawn in strips.
        extent: `extent_of` the picture that a network knows, where it is drawn at another size: a place of the picture
            then has the same position on all axes, whatever the size's shape.
        region: The part of the picture whose outermost pixels these are.

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
    right, bottom = extent or extent_of(height, width)
    left, top, to_right, to_bottom = region
    y = torch.linspace(top, to_bottom, height, dtype=torch.float64).mul_(bottom)[rows]
    x = torch.linspace(left, to_right, width, dtype=torch.float64).mul_(right)
    return _positions(x, y, num_rotations=num_rotations, corner=(right, bottom), dtype=dtype).to(device)


def positions_before_shrinking(
    height: int, width: int, *, shrunk: tuple[int, int], num_rotations: int = 1, rows: slice = slice(None)
) -> Float[Tensor, "{height}*{width} 2*{num_rotations}"]:
    """Positions of the pixels of a picture in the network of the smaller one that it was shrunk to.

    Resizing spans the pixels' outer edges, so the first and last pixels lie up to half a small pixel beyond the border
    of what the network knows; they are taken at the border.

    Args:
        height, width: Of the picture, in pixels.
        shrunk: Height and width that it was shrunk to; at least 2.
        rows: As `pixel_positions` takes it.
    """
    right, bottom = extent_of(*shrunk)

    def places(length: int, small: int) -> Tensor:
        centres = (torch.arange(length, dtype=torch.float64) + 0.5) * (small / length) - 0.5
        return (centres * (2 / (small - 1)) - 1).clamp_(-1, 1)

    y, x = places(height, shrunk[0]).mul_(bottom)[rows], places(width, shrunk[1]).mul_(right)
    return _positions(x, y, num_rotations=num_rotations, corner=(right, bottom), dtype=torch.float32)


def _positions(
    x: Tensor, y: Tensor, *, num_rotations: int, corner: tuple[float, float], dtype: torch.dtype
) -> Float[Tensor, "pixels axes"]:
    """Rotated axes of all pixels with these columns and rows; in a corner each axis is longest."""
    positions = torch.empty(len(y), len(x), 2 * num_rotations, dtype=dtype)
    for column, axis in enumerate(rotated_axes(x[None, :], y[:, None], num_rotations=num_rotations, corner=corner)):
        positions[..., column] = axis
    return positions.flatten(0, 1)


def extent_of(height: int, width: int) -> tuple[float, float]:
    """Distance of a picture's right and bottom pixels from its middle; the longer one is 1."""
    longest = max(height, width) - 1
    return (width - 1) / longest, (height - 1) / longest


def directions(num_rotations: int) -> list[tuple[float, float]]:
    """Cosine and sine of each rotation's angle, which divide a quarter turn."""
    angles = [math.pi / 2 * rotation / num_rotations for rotation in range(num_rotations)]
    return [(math.cos(angle), math.sin(angle)) for angle in angles]


def rotated_axes(
    x: Tensor, y: Tensor, *, num_rotations: int, corner: tuple[float, float] | None = None
) -> list[Tensor]:
    """Places on the axes of every rotation: two for each, of the same shape as `x` and `y`.

    Args:
        corner: x and y, both positive, of the corner in which every axis is to be 1; None leaves them as they are.
    """
    axes = []
    for cos, sin in directions(num_rotations):
        along, across = cos * x + sin * y, cos * y - sin * x
        if corner is not None:
            right, top = corner
            along, across = along / (cos * right + sin * top), across / (cos * top + sin * right)
        axes += [along, across]
    return axes


def upstream_axes(num_rotations: int) -> list[int]:
    """For each axis of upstream's mesh of positions, the column of `pixel_positions` with the same values.

    Upstream counts angles from the rows, and has the rows twice at angle 0, the columns nowhere.
    """
    axes = [1, 1]
    for rotation in range(1, num_rotations):
        axes += [2 * (num_rotations - rotation), 2 * rotation + 1]
    return axes
