"""The config of a network: layer type, nodes, segments and widths of its input, hidden and output layers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from hoir_ray.config import Config

WaveType = Literal["sine", "finer", "gabor"]
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
    WaveType,
    "linear",
    "relu",
]
Normalization = Literal["max_abs", "max_center", "l2", "layer_norm", "none"]

_RENAMED = {"baseline": "linear", "baseline_relu": "relu"}
_SEVERAL_VARIABLES = {f"polynomial_{d}d" for d in (2, 3, 4, 5)}
_RESNET = "sums with the previous layer are not offered: upstream's hold no parameters, so they never train"


def _known_layer_type(name: Any) -> Any:
    if name in _RENAMED:
        raise ValueError(f"upstream's '{name}' is called '{_RENAMED[name]}' here; write '{_RENAMED[name]}'")
    if name in _SEVERAL_VARIABLES:
        raise ValueError(
            f"'{name}' takes inputs grouped in {name[-2]} dimensions, which no layer before it produces; "
            "write 'polynomial', whose links take one variable each"
        )
    if name == "resnet":
        raise ValueError(f"{_RESNET}; write one of the layer types")
    return name


CheckedLayerType = Annotated[LayerType, BeforeValidator(_known_layer_type)]


class LayerConfig(Config):
    """One layer's own choices; what is left out falls back to the network's.

    Attributes:
        omega: Frequency of `sine`, `finer` and `gabor`.
        scale: Of `gabor`, the inverse width of its envelope.
    """

    layer_type: CheckedLayerType | None = None
    num_nodes: int | None = Field(default=None, ge=2, le=1024)
    segments: int | None = Field(default=None, ge=1, le=100_000)
    omega: float | None = Field(default=None, gt=0, le=10_000)
    scale: float | None = Field(default=None, gt=0, le=10_000)

    @model_serializer(mode="wrap")
    def _without_waves(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A pack's file counts its bytes, and few networks have waves.
        return {
            name: value for name, value in dump(self).items() if name not in ("omega", "scale") or value is not None
        }


class HiddenConfig(LayerConfig):
    """The hidden layers: `num_layers` of them beyond the input layer, each `width` units wide."""

    width: int = Field(default=40, ge=1, le=65_536)
    num_layers: int = Field(default=1, ge=0, le=256)


class OutputConfig(LayerConfig):
    """The output layer; in a network of type `relu`, `sine`, `finer` or `gabor` it is `linear` unless given."""

    @field_validator("layer_type")
    @classmethod
    def _has_both_signs(cls, layer_type: LayerType | None) -> LayerType | None:
        if layer_type == "relu":
            raise ValueError("a relu output could never be negative; write 'linear'")
        return layer_type


class NetworkConfig(Config):
    """A multilayer network whose links are functions of one variable, or one of another family.

    `num_nodes` is upstream's `n`: interpolation points per segment (order + 1), for Fourier the number of components.
    `periodicity` folds every layer's inputs by mirror images with this period; None leaves them as they are.
    A normalization follows every layer but the last, unless a layer's outputs lie in [-1, 1] by themselves.

    Attributes:
        omega: Frequency of `sine`, `finer` and `gabor`.
        scale: Of `gabor`, the inverse width of its envelope.
        bias_range: Of an input layer of type `finer`; its bias starts between this and its negative.
    """

    normalizes_bounded: ClassVar[bool] = False  # where something changes a layer's outputs before the next one

    layer_type: CheckedLayerType = "continuous"
    num_nodes: int = Field(default=3, ge=2, le=1024)
    segments: int = Field(default=2, ge=1, le=100_000)
    input: LayerConfig = LayerConfig()
    hidden: HiddenConfig = HiddenConfig()
    output: OutputConfig = OutputConfig()
    normalization: Normalization = "max_abs"
    periodicity: float | None = Field(default=None, gt=0)
    omega: float = Field(default=30.0, gt=0, le=10_000)
    scale: float = Field(default=10.0, gt=0, le=10_000)
    bias_range: float = Field(default=1.0, ge=0, le=10_000)

    @model_serializer(mode="wrap")
    def _without_waves(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        types = {self.layer_type, self.input.layer_type, self.hidden.layer_type, self.output.layer_type}
        left_out = () if types & set(get_args(WaveType)) else ("omega", "scale", "bias_range")
        return {name: value for name, value in dump(self).items() if name not in left_out}

    @model_validator(mode="before")
    @classmethod
    def _no_resnet(cls, given: Any) -> Any:
        if isinstance(given, dict) and "resnet" in given:
            raise ValueError(f"resnet: {_RESNET}; leave the key out")
        return given
