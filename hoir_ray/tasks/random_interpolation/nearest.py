"""The sampler `nearest`: pixels around a target in a picture of which a random part is known."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn

from hoir_ray.pictures.coordinates import rotated_axes
from hoir_ray.tasks.random_interpolation.config import RandomInterpolationData
from hoir_ray.tasks.random_interpolation.hashing import hash_each

UNIT = 2.0**-31


class NearestSampler(nn.Module):
    """Draws the nearest pixels of a target as if each pixel of the picture were known with some probability.

    The probability is drawn for each target, evenly on a log scale from `num` pixels in a picture to all of them, so
    that one network draws the first pixels of a picture and the last. The k-th nearest point of a Poisson process of
    density d lies at the root of (sum of k exponential numbers) / (pi d); angles are uniform.
    """

    def __init__(self, config: RandomInterpolationData, *, side: int) -> None:
        super().__init__()
        self.side, self.num, self.num_rotations = side, config.num_feature_pixels, config.num_rotations

    def forward(
        self, row: Int32[Tensor, " batch"], column: Int32[Tensor, " batch"], hashed: Int32[Tensor, " batch"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rows and columns (batch, num) of the feature pixels, the nearest first, and their positions."""
        drawn = (hash_each(hashed, num=2 * self.num + 1) & 0x7FFFFFFF).float().add_(0.5).mul_(UNIT)
        of_radius, of_angle, of_density = drawn[:, : self.num], drawn[:, self.num : -1], drawn[:, -1:]
        density = (self.num / self.side**2) ** (1 - of_density)
        radius = torch.sqrt(torch.cumsum(-torch.log(of_radius), 1) / (math.pi * density))
        down, right = (radius * wave(2 * math.pi * of_angle) for wave in (torch.sin, torch.cos))
        down, right = down.round().int(), right.round().int()
        right = torch.where((down == 0) & (right == 0), 1, right)  # not the target itself
        rows, columns = self._inside(row.unsqueeze(1) + down), self._inside(column.unsqueeze(1) + right)
        down, right = rows - row.unsqueeze(1), columns - column.unsqueeze(1)
        order = torch.argsort(down * down + right * right, dim=1, stable=True)
        rows, columns, down, right = (x.gather(1, order) for x in (rows, columns, down, right))
        return rows, columns, positions_of_nearest(down, right, side=self.side, num_rotations=self.num_rotations)

    def _inside(self, index: Tensor) -> Tensor:
        last = self.side - 1
        index = index.abs()
        return torch.minimum(index, 2 * last - index).clamp(0, last)


def positions_of_nearest(
    down: Int32[Tensor, "batch num"], right: Int32[Tensor, "batch num"], *, side: int, num_rotations: int
) -> Float[Tensor, "batch num*2*{num_rotations}+1"]:
    """Positions relative to the target in units of the farthest pixel's distance, and the log of that distance.

    The same arrangement looks the same at every scale, so that what is learned of coarse pictures serves fine ones.
    """
    y, x = down.float(), right.float()
    reach = torch.sqrt((y * y + x * x).amax(1, keepdim=True)).clamp_(min=1)
    y, x = y / reach, x / reach
    axes = rotated_axes(x, y, num_rotations=num_rotations)
    scale = 2 * torch.log(reach) / math.log(side) - 1
    return torch.cat([torch.stack(axes, dim=2).flatten(1), scale], dim=1)
