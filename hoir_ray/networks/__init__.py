"""Networks of high-order layers: what they are made of, how they are built, and how many parameters they have."""

from hoir_ray.networks.config import NetworkConfig
from hoir_ray.networks.layers import build_layer
from hoir_ray.networks.mlp import MLP, build_mlp
from hoir_ray.networks.resolve import ResolvedLayer, num_parameters, resolve, unused_fields

__all__ = [
    "MLP",
    "NetworkConfig",
    "ResolvedLayer",
    "build_layer",
    "build_mlp",
    "num_parameters",
    "resolve",
    "unused_fields",
]
