"""Resolution of a network config: layers with their fallbacks applied, parameter count, unused fields."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from hoir_ray.networks.config import LayerConfig, LayerType, NetworkConfig, WaveType

CONTINUOUS: frozenset[LayerType] = frozenset({"continuous", "continuous_prod", "switch_continuous"})
DISCONTINUOUS: frozenset[LayerType] = frozenset({"discontinuous", "discontinuous_prod", "switch_discontinuous"})
PIECEWISE = CONTINUOUS | DISCONTINUOUS
WITH_NODES: frozenset[LayerType] = PIECEWISE | {"polynomial", "polynomial_prod", "fourier"}
HIGH_ORDER: frozenset[LayerType] = WITH_NODES | {"product"}
SWITCHES: frozenset[LayerType] = frozenset({"switch_continuous", "switch_discontinuous"})
WAVES: frozenset[LayerType] = frozenset(get_args(WaveType))
WITH_BIAS: frozenset[LayerType] = WAVES | {"product", "linear", "relu"}
_READERS: dict[str, frozenset[LayerType]] = {
    "num_nodes": WITH_NODES,
    "segments": PIECEWISE,
    "omega": WAVES,
    "scale": frozenset({"gabor"}),
}


@dataclass(frozen=True, kw_only=True)
class ResolvedLayer:
    """One layer's choices, whether they were its own or the network's.

    Attributes:
        siren_omega: Of a linear output layer behind sines, their frequency, by which its first weights are divided.
    """

    layer_type: LayerType
    num_nodes: int
    segments: int
    periodicity: float | None = None
    omega: float = 30.0
    scale: float = 10.0
    bias_range: float = 1.0
    is_first: bool = False
    siren_omega: float | None = None

    @property
    def is_bounded(self) -> bool:
        """Return whether its outputs lie in [-1, 1] by themselves."""
        return self.layer_type in WAVES

    @property
    def weights_per_link(self) -> int:
        """Trainable numbers from one input to one output, a switch's two halves counted together."""
        halves = 2 if self.layer_type in SWITCHES else 1
        if self.layer_type in CONTINUOUS:
            return halves * ((self.num_nodes - 1) * self.segments + 1)
        if self.layer_type in DISCONTINUOUS:
            return halves * self.num_nodes * self.segments
        return self.num_nodes if self.layer_type in WITH_NODES else 1

    def num_parameters(self, *, in_width: int, out_width: int) -> int:
        bias = out_width if self.layer_type in WITH_BIAS else 0
        return in_width * out_width * self.weights_per_link + bias


def resolve(config: NetworkConfig) -> tuple[ResolvedLayer, ResolvedLayer, ResolvedLayer]:
    """The input, hidden and output layers; behind `relu`, `sine`, `finer` and `gabor` the output is `linear`."""

    def layer(own: LayerConfig, fallback: LayerType) -> ResolvedLayer:
        return ResolvedLayer(
            layer_type=own.layer_type or fallback,
            num_nodes=own.num_nodes or config.num_nodes,
            segments=own.segments or config.segments,
            periodicity=config.periodicity,
            omega=own.omega or config.omega,
            scale=own.scale or config.scale,
            bias_range=config.bias_range,
        )

    out: LayerType = "linear" if config.layer_type in WAVES | {"relu"} else config.layer_type
    first = replace(layer(config.input, config.layer_type), is_first=True)
    hidden = layer(config.hidden, config.layer_type)
    last = layer(config.output, out)
    before = hidden if config.hidden.num_layers else first
    if last.layer_type == "linear" and before.layer_type in ("sine", "finer"):
        last = replace(last, siren_omega=before.omega)
    return first, hidden, last


def is_normalized(config: NetworkConfig, layer: ResolvedLayer) -> bool:
    """Return whether a normalization follows this layer, which is not the last."""
    return config.normalization != "none" and (config.normalizes_bounded or not layer.is_bounded)


def _num_normalizations(config: NetworkConfig) -> int:
    first, hidden, _ = resolve(config)
    return is_normalized(config, first) + config.hidden.num_layers * is_normalized(config, hidden)


def has_seams(config: NetworkConfig) -> bool:
    """True if a layer jumps between its segments, which shows where a picture is drawn larger than it was trained."""
    layers = zip(resolve(config), (True, config.hidden.num_layers > 0, True), strict=True)
    return any(layer.layer_type in DISCONTINUOUS and layer.segments > 1 for layer, is_used in layers if is_used)


def num_parameters(config: NetworkConfig, *, in_width: int, out_width: int) -> int:
    """Trainable parameters of the network that `build_mlp` builds, without building it."""
    first, hidden, last = resolve(config)
    width, num_hidden = config.hidden.width, config.hidden.num_layers
    norms = 2 * width * _num_normalizations(config) if config.normalization == "layer_norm" else 0
    return (
        first.num_parameters(in_width=in_width, out_width=width)
        + num_hidden * hidden.num_parameters(in_width=width, out_width=width)
        + last.num_parameters(in_width=width, out_width=out_width)
        + norms
    )


def unused_fields(config: NetworkConfig, *, prefix: str = "network") -> list[str]:
    """Dotted paths that were set and cannot change the network, such as segments of a Fourier layer."""
    roles: dict[str, LayerConfig] = {"input": config.input, "hidden": config.hidden, "output": config.output}
    resolved = dict(zip(roles, resolve(config), strict=True))
    if config.hidden.num_layers == 0:
        del resolved["hidden"]

    unused = []
    for role, own in roles.items():
        for field in ("layer_type", *_READERS):
            if field not in own.model_fields_set or getattr(own, field) is None:
                continue
            read = role in resolved and resolved[role].layer_type in _READERS.get(field, {resolved[role].layer_type})
            if not read:
                unused.append(f"{role}.{field}")

    for field in ("layer_type", *_READERS):
        falling_back = [layer for role, layer in resolved.items() if getattr(roles[role], field) is None]
        read = any(layer.layer_type in _READERS.get(field, {layer.layer_type}) for layer in falling_back)
        if field in config.model_fields_set and not read:
            unused.append(field)
    if config.periodicity is not None and not any(layer.layer_type in HIGH_ORDER for layer in resolved.values()):
        unused.append("periodicity")
    if "bias_range" in config.model_fields_set and resolved["input"].layer_type != "finer":
        unused.append("bias_range")
    if (
        "normalization" in config.model_fields_set
        and config.normalization != "none"
        and not _num_normalizations(config)
    ):
        unused.append("normalization")
    return [f"{prefix}.{path}" for path in unused]
