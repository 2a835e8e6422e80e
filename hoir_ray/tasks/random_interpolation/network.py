"""The random_interpolation network: colours and positions of random pixels in, the target's colour out."""

from __future__ import annotations

from torch import nn

from hoir_ray import networks
from hoir_ray.tasks.random_interpolation.config import RandomInterpolationConfig


def build_network(config: RandomInterpolationConfig) -> nn.Module:
    """The network with fresh weights, drawn from torch's global generator."""
    return networks.build_mlp(config.network, in_width=config.data.num_features, out_width=config.data.num_outputs)


def num_parameters(config: RandomInterpolationConfig) -> int:
    """Trainable parameters, counted from the config alone."""
    return networks.num_parameters(config.network, in_width=config.data.num_features, out_width=config.data.num_outputs)
