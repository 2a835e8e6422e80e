"""What a network is made of: the layer type, nodes, segments and widths of its input, hidden and output layers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hoir_ray.config import Config

LayerType = Literal[
    "continuous",
    "continuous_prod",
    "discontinuous",
    "discontinuous_prod",
    "polynomial",
    "polynomial_prod",
    "product",
    "fourier",
    "switch_continuous",
    "switch_discontinuous",
    "linear",
    "relu",
]
Normalization = Literal["max_abs", "max_center", "l2", "layer_norm", "none"]


class LayerConfig(Config):
    """One layer's own choices; what is left out falls back to the network's."""

    layer_type: LayerType | None = None
    num_nodes: int | None = Field(default=None, ge=2, le=1024)
    segments: int | None = Field(default=None, ge=1, le=100_000)


class HiddenConfig(LayerConfig):
    """The hidden layers: `num_layers` of them beyond the input layer, each `width` units wide."""

    width: int = Field(default=40, ge=1, le=65_536)
    num_layers: int = Field(default=1, ge=0, le=256)


class NetworkConfig(Config):
    """A multilayer network whose links are functions of one variable.

    `num_nodes` is upstream's `n`: interpolation points per segment (order + 1), for Fourier the number of components.
    `periodicity` folds every layer's inputs by mirror images with this period; None leaves them as they are.
    """

    layer_type: LayerType = "continuous"
    num_nodes: int = Field(default=3, ge=2, le=1024)
    segments: int = Field(default=2, ge=1, le=100_000)
    input: LayerConfig = LayerConfig()
    hidden: HiddenConfig = HiddenConfig()
    output: LayerConfig = LayerConfig()
    normalization: Normalization = "max_abs"
    periodicity: float | None = Field(default=None, gt=0)
