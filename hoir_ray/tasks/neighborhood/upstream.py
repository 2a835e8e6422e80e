"""The order of inputs and outputs in the networks of upstream's `implicit_neighborhood.py`: colour by colour."""

from __future__ import annotations

from hoir_ray.tasks.neighborhood.config import NeighborhoodConfig


def inputs(config: NeighborhoodConfig) -> list[int]:
    """For each colour value of upstream's ring, the number of ours."""
    return _pixel_by_pixel(config.data.num_features)


def outputs(config: NeighborhoodConfig) -> list[int]:
    """For each colour value of upstream's block, the number of ours."""
    return _pixel_by_pixel(config.data.num_targets)


def _pixel_by_pixel(num_values: int) -> list[int]:
    return [3 * pixel + colour for colour in range(3) for pixel in range(num_values // 3)]
