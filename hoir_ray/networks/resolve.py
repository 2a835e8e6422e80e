"""Resolution of a network config: layers with their fallbacks applied, parameter count, unused fields."""

from __future__ import annotations

from dataclasses import dataclass

from hoir_ray.networks.config import LayerConfig, LayerType, NetworkConfig

CONTINUOUS: frozenset[LayerType] = frozenset({"continuous", "continuous_prod", "switch_continuous"})
DISCONTINUOUS: frozenset[LayerType] = frozenset({"discontinuous", "discontinuous_prod", "switch_discontinuous"})
PIECEWISE = CONTINUOUS | DISCONTINUOUS
WITH_NODES: frozenset[LayerType] = PIECEWISE | {"polynomial", "polynomial_prod", "fourier"}
HIGH_ORDER: frozenset[LayerType] = WITH_NODES | {"product"}
SWITCHES: frozenset[LayerType] = frozenset({"switch_continuous", "switch_discontinuous"})
WITH_BIAS: frozenset[LayerType] = frozenset({"product", "linear", "relu"})


@dataclass(frozen=True, kw_only=True)
class ResolvedLayer:
    """One layer's choices, whether they were its own or the network's."""

    layer_type: LayerType
    num_nodes: int
    segments: int
    periodicity: float | None = None

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
    """The input, hidden and output layers. Under a network of type `relu` the output falls back to `linear`."""

    def layer(own: LayerConfig, fallback: LayerType) -> ResolvedLayer:
        return ResolvedLayer(
            layer_type=own.layer_type or fallback,
            num_nodes=own.num_nodes or config.num_nodes,
            segments=own.segments or config.segments,
            periodicity=config.periodicity,
        )

    out: LayerType = "linear" if config.layer_type == "relu" else config.layer_type
    return (
        layer(config.input, config.layer_type),
        layer(config.hidden, config.layer_type),
        layer(config.output, out),
    )


def has_seams(config: NetworkConfig) -> bool:
    """True if a layer jumps between its segments, which shows where a picture is drawn larger than it was trained."""
    layers = zip(resolve(config), (True, config.hidden.num_layers > 0, True), strict=True)
    return any(layer.layer_type in DISCONTINUOUS and layer.segments > 1 for layer, is_used in layers if is_used)


def num_parameters(config: NetworkConfig, *, in_width: int, out_width: int) -> int:
    """Trainable parameters of the network that `build_mlp` builds, without building it."""
    first, hidden, last = resolve(config)
    width, num_hidden = config.hidden.width, config.hidden.num_layers
    norms = 2 * width * (num_hidden + 1) if config.normalization == "layer_norm" else 0
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

    readers: dict[str, frozenset[LayerType]] = {"num_nodes": WITH_NODES, "segments": PIECEWISE}
    unused = []
    for role, own in roles.items():
        for field in ("layer_type", "num_nodes", "segments"):
            if field not in own.model_fields_set or getattr(own, field) is None:
                continue
            read = role in resolved and resolved[role].layer_type in readers.get(field, {resolved[role].layer_type})
            if not read:
                unused.append(f"{role}.{field}")

    for field in ("layer_type", "num_nodes", "segments"):
        falling_back = [layer for role, layer in resolved.items() if getattr(roles[role], field) is None]
        read = any(layer.layer_type in readers.get(field, {layer.layer_type}) for layer in falling_back)
        if field in config.model_fields_set and not read:
            unused.append(field)
    if config.periodicity is not None and not any(layer.layer_type in HIGH_ORDER for layer in resolved.values()):
        unused.append("periodicity")
    return [f"{prefix}.{path}" for path in unused]
