"""The samplers `radial` and `uniform`: random pixels around a target, drawn for whole batches on the device."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn

from hoir_ray.pictures.coordinates import rotated_axes
from hoir_ray.tasks.random_interpolation.config import RandomInterpolationData
from hoir_ray.tasks.random_interpolation.hashing import hash_each

MAX_ANGLES = MAX_RADII = 256


class NeighbourSampler(nn.Module):
    """Draws the feature pixels of targets in a square picture of `side` pixels.

    Attributes:
        steps: Radial only. Rows and columns from the target, in the upper and lower half of one number, for every
            feature pixel, radius and angle.
        relative: The position that goes with each of `steps`; for the uniform sampler with each (rows, columns).
    """

    steps: Tensor
    relative: Tensor

    def __init__(self, config: RandomInterpolationData, *, side: int) -> None:
        super().__init__()
        self.side, self.num, self.radial = side, config.num_feature_pixels, config.sampler == "radial"
        rows, columns = radial_steps(side, num=self.num) if self.radial else every_step(side)
        self.register_buffer("steps", (rows << 16) + (columns + 0x8000))
        self.register_buffer("relative", positions_of(rows, columns, side=side, num_rotations=config.num_rotations))

    def forward(
        self, row: Int32[Tensor, " batch"], column: Int32[Tensor, " batch"], hashed: Int32[Tensor, " batch"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rows and columns (batch, num) of the feature pixels, and their positions (batch, num * axes)."""
        row, column = row.unsqueeze(1), column.unsqueeze(1)
        rows, columns, which = self._radial(row, column, hashed) if self.radial else self._uniform(row, column, hashed)
        return rows, columns, self.relative.index_select(0, which.flatten()).view(len(row), -1)

    def _radial(self, row: Tensor, column: Tensor, hashed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        per_pixel = len(self.steps) // self.num
        # One 32-bit hash serves two pixels: of their 16 bits each, 8 choose the angle and up to 8 the radius.
        drawn = hash_each(hashed, num=(self.num + 1) // 2)
        which = torch.cat([drawn & (per_pixel - 1), (drawn >> 16) & (per_pixel - 1)], dim=1)[:, : self.num]
        which = which + torch.arange(0, len(self.steps), per_pixel, dtype=torch.int32, device=which.device)
        step = self.steps.index_select(0, which.flatten()).view(which.shape)
        return self._mirror(row + (step >> 16)), self._mirror(column + ((step & 0xFFFF) - 0x8000)), which

    def _uniform(self, row: Tensor, column: Tensor, hashed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        drawn = (hash_each(hashed, num=self.num) & 0x7FFFFFFF) % (self.side**2 - 1)
        pixel = drawn + (drawn >= row * self.side + column).int()  # steps over the target
        rows = pixel.div(self.side, rounding_mode="floor")
        columns = pixel - rows * self.side
        reach = self.side - 1
        return rows, columns, (rows - row + reach) * (2 * self.side - 1) + (columns - column + reach)

    def _mirror(self, index: Tensor) -> Tensor:
        index = index.abs_()
        return torch.minimum(index, 2 * (self.side - 1) - index)


def radial_steps(side: int, *, num: int) -> tuple[Int32[Tensor, " steps"], Int32[Tensor, " steps"]]:
    """Rows and columns of all steps, `num` rings of equal width from one pixel to half the side, the nearest first.

    Each feature pixel has its own ring, so that what the network learns of it holds for one distance. Together
    the radii are uniform, as upstream's are. Those begin at 0 there and are cut off to whole pixels, so that in most
    samples the target was among its own features and the network had only to find it.
    """
    # Twice as many as pixels can tell apart, so that the tables stay in the processor's cache; powers of two, whose
    # product is at most the 16 bits that are drawn for a pixel.
    num_angles = min(MAX_ANGLES, 2 ** math.ceil(math.log2(2 * side)))
    num_radii = num * 2 ** math.ceil(math.log2(max(1, min(MAX_RADII, side) / num)))
    radius = 1 + (side / 2 - 1) * (torch.arange(num_radii) + 0.5) / num_radii
    angle = 2 * math.pi * (torch.arange(num_angles) + 0.5) / num_angles
    rows, columns = radius[:, None] * angle.sin(), radius[:, None] * angle.cos()
    return rows.round().int().flatten(), columns.round().int().flatten()


def every_step(side: int) -> tuple[Int32[Tensor, " steps"], Int32[Tensor, " steps"]]:
    """Rows and columns of all steps from one pixel of a picture to another."""
    step = torch.arange(-(side - 1), side, dtype=torch.int32)
    rows, columns = torch.meshgrid(step, step, indexing="ij")
    return rows.flatten(), columns.flatten()


def positions_of(
    rows: Int32[Tensor, " steps"], columns: Int32[Tensor, " steps"], *, side: int, num_rotations: int
) -> Float[Tensor, "steps 2*{num_rotations}"]:
    """Positions relative to the target, on every axis; a step across the whole picture is 2 along x or y."""
    x, y = columns * (2 / (side - 1)), rows * (2 / (side - 1))
    return torch.stack(rotated_axes(x, y, num_rotations=num_rotations, corner=(1.0, 1.0)), dim=-1)
