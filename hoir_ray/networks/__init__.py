"""Networks of high-order layers: what they are made of, how they are built, and how many parameters they have.

What is known of a network without building it needs no torch; the rest is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hoir_ray.networks.config import NetworkConfig
from hoir_ray.networks.resolve import ResolvedLayer, num_parameters, resolve, unused_fields

if TYPE_CHECKING:
    from hoir_ray.networks.layers import build_layer
    from hoir_ray.networks.mlp import MLP, build_mlp

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


def __getattr__(name: str) -> Any:
    if name == "build_layer":
        from hoir_ray.networks.layers import build_layer

        return build_layer
    if name in ("MLP", "build_mlp"):
        from hoir_ray.networks import mlp

        return getattr(mlp, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
