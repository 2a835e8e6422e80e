"""The order of inputs and outputs in the networks of upstream's `random_interpolation.py`."""

from __future__ import annotations

from hoir_ray.pictures.coordinates import upstream_axes
from hoir_ray.tasks.random_interpolation.config import RandomInterpolationConfig


def inputs(config: RandomInterpolationConfig) -> list[int]:
    """For each of upstream's features, pixel by pixel its colour and its position, the number of ours."""
    num_pixels = config.data.num_feature_pixels
    axes = upstream_axes(config.data.num_rotations)
    order = []
    for pixel in range(num_pixels):
        order += [3 * pixel + colour for colour in range(3)]
        order += [3 * num_pixels + len(axes) * pixel + axis for axis in axes]
    return order


def outputs(config: RandomInterpolationConfig) -> list[int]:
    """Red, green and blue, as ours."""
    return [0, 1, 2]
