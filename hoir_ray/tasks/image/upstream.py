"""The order of inputs and outputs in the networks of upstream's `implicit_images.py`."""

from __future__ import annotations

from hoir_ray.pictures.coordinates import upstream_axes
from hoir_ray.tasks.image.config import ImageConfig


def inputs(config: ImageConfig) -> list[int]:
    """For each of upstream's axes, the number of the axis of ours with the same values."""
    return upstream_axes(config.data.num_rotations)


def outputs(config: ImageConfig) -> list[int]:
    """Red, green and blue, as ours."""
    return [0, 1, 2]
