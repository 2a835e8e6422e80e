"""The neighborhood network: the colours of a ring in, the colours of the block inside it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoir_ray import networks
from hoir_ray.tasks.neighborhood.config import NeighborhoodConfig

if TYPE_CHECKING:
    from torch import nn


def build_network(config: NeighborhoodConfig) -> nn.Module:
    """The network with fresh weights, drawn from torch's global generator."""
    data = config.data
    return networks.build_mlp(config.network, in_width=data.num_features, out_width=data.num_targets)


def num_parameters(config: NeighborhoodConfig) -> int:
    """Trainable parameters, counted from the config alone."""
    data = config.data
    return networks.num_parameters(config.network, in_width=data.num_features, out_width=data.num_targets)
