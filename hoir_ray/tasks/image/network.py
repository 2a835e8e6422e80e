"""The image network: rotated positions in, red, green and blue out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoir_ray import networks
from hoir_ray.tasks.image.config import ImageConfig

if TYPE_CHECKING:
    from torch import nn


def build_network(config: ImageConfig) -> nn.Module:
    """The network with fresh weights, drawn from torch's global generator."""
    return networks.build_mlp(config.network, in_width=2 * config.data.num_rotations, out_width=3)


def num_parameters(config: ImageConfig) -> int:
    """Trainable parameters, counted from the config alone."""
    return networks.num_parameters(config.network, in_width=2 * config.data.num_rotations, out_width=3)
