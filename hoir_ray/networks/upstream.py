"""Weights to and from high-order-layers-torch's HighOrderMLP, and that class itself where it is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hoir_ray.errors import PackError, RequestError
from hoir_ray.networks.basis import Identity, Piecewise
from hoir_ray.networks.config import NetworkConfig
from hoir_ray.networks.layers import LinearRelu, Links, Switch
from hoir_ray.networks.mlp import MLP, build_mlp
from hoir_ray.networks.resolve import SWITCHES, WAVES, resolve

_NAMES = {"linear": "baseline", "relu": "baseline_relu"}


def to_upstream_state(network: MLP) -> dict[str, Tensor]:
    """A state dict that upstream's HighOrderMLP loads strictly; it names the first and last layer twice.

    Raises:
        RequestError: If a layer is a switch, whose weights upstream keeps out of its state.
    """
    layers: dict[str, dict[str, Tensor]] = {}
    for index, layer in enumerate(network.layers):
        layers[f"model.{index}"] = _layer_state(layer)
    last = f"model.{len(network.layers) - 1}"
    doubled = {"input_layer": layers["model.0"], **layers, "output_layer": layers[last]}
    return {f"{prefix}.{name}": tensor for prefix, state in doubled.items() for name, tensor in state.items()}


def from_upstream_state(state: Mapping[str, Tensor], *, config: NetworkConfig, in_width: int, out_width: int) -> MLP:
    """The network with the weights of upstream's state dict.

    Raises:
        PackError: If the state lacks a weight of this network, has one of another shape, or one more.
    """
    network = build_mlp(config, in_width=in_width, out_width=out_width)
    load_upstream_state(network, state)
    return network


@torch.no_grad()
def load_upstream_state(network: MLP, state: Mapping[str, Tensor]) -> None:
    """Put the weights of upstream's state dict into `network`.

    Raises:
        PackError: If the state lacks a weight of this network, has one of another shape, or one more.
        RequestError: If a layer is a switch, whose weights upstream keeps out of its state.
    """
    left = {key for key in state if key.startswith("model.") and not key.endswith(".result")}
    for index, layer in enumerate(network.layers):
        for name, parameter in _named_parameters(layer).items():
            key = f"model.{index}.{name}"
            if key not in state:
                raise PackError(f"{key}: not in the state, whose names are {', '.join(sorted(state)) or 'none'}")
            value = state[key].permute(1, 2, 0) if name == "w" and state[key].dim() == 3 else state[key]
            value = value.T.unsqueeze(1) if isinstance(layer, Links) and name == "weight" else value
            if value.shape != parameter.shape:
                raise PackError(f"{key}: expected {list(parameter.shape)} as [in, V, out], got {list(value.shape)}")
            parameter.copy_(value)
            left.discard(key)
    if left:
        raise PackError(f"{', '.join(sorted(left))}: in the state, and the network has no such weights")


@torch.no_grad()
def reorder(network: MLP, *, inputs: Sequence[int], outputs: Sequence[int]) -> None:
    """Move the links of the network's inputs and outputs to other numbers.

    Args:
        inputs: For each input, its new number. Links of inputs that share one are added up; a number that none has is
            left without a link.
        outputs: For each output, its new number; none may share one.

    Raises:
        RequestError: If inputs share a number and the input layer multiplies its links.
    """
    first, last = network.layers[0], network.layers[-1]
    if len(set(inputs)) < len(inputs) and isinstance(first, Links) and first.join == "prod":
        raise RequestError(
            "the input layer multiplies its links, and several of upstream's inputs carry the same values, which "
            "can be brought together only in a layer that adds"
        )
    weight = _weight(first)
    by_input = 0 if isinstance(first, Links) else 1
    weight.copy_(torch.zeros_like(weight).index_add_(by_input, torch.tensor(inputs), weight.clone()))
    for parameter in _named_parameters(last).values():
        by_output = 2 if parameter is _weight(last) and isinstance(last, Links) else 0
        parameter.copy_(parameter.index_copy(by_output, torch.tensor(outputs), parameter.clone()))


def to_upstream(network: MLP) -> nn.Module:
    """Upstream's own HighOrderMLP with this network's weights.

    Raises:
        RequestError: If upstream is not installed or has no such network.
    """
    state = to_upstream_state(network)
    arguments: dict[str, Any] = upstream_arguments(network)
    try:
        from high_order_layers_torch.layers import normalization_layers
        from high_order_layers_torch.networks import HighOrderMLP
    except ImportError as error:
        raise RequestError(f"upstream is not installed ({error}); run: pip install high-order-layers-torch") from error
    if arguments["normalization"] is not None:
        arguments["normalization"] = normalization_layers[arguments["normalization"]]
    model = HighOrderMLP(**arguments)
    if network.config.normalization == "layer_norm":
        model(torch.zeros(1, network.in_width))  # upstream makes these weights when it first sees their width
    model.load_state_dict(state)
    return model


def upstream_arguments(network: MLP) -> dict[str, str | int | float | None]:
    """The arguments that give upstream's HighOrderMLP this network's shape; the normalization by its name there.

    Raises:
        RequestError: If upstream has no such network.
    """
    config = network.config
    first, hidden, last = resolve(config)
    hidden = hidden if config.hidden.num_layers else last
    if waves := {layer.layer_type for layer in (first, hidden, last)} & WAVES:
        raise RequestError(
            f"upstream has no layers of type '{min(waves)}'; only those of learned links are known there"
        )
    if hidden.layer_type != last.layer_type:
        raise RequestError(
            f"upstream has one layer type behind the input layer, got hidden '{hidden.layer_type}' and output "
            f"'{last.layer_type}'; give both the same"
        )
    if "polynomial_prod" in (first.layer_type, hidden.layer_type):
        raise RequestError("upstream's polynomial_prod fails to build (its basis lacks num_basis); take polynomial")
    if config.periodicity is not None and "fourier" in (first.layer_type, hidden.layer_type):
        raise RequestError("upstream's fourier layers drop periodicity; leave network.periodicity out")
    return {
        "layer_type": _NAMES.get(hidden.layer_type, hidden.layer_type),
        "layer_type_in": _NAMES.get(first.layer_type, first.layer_type),
        "n": config.num_nodes,
        "n_in": first.num_nodes,
        "n_hidden": hidden.num_nodes,
        "n_out": last.num_nodes,
        "in_width": network.in_width,
        "out_width": network.out_width,
        "hidden_layers": config.hidden.num_layers,
        "hidden_width": config.hidden.width,
        "in_segments": first.segments,
        "hidden_segments": hidden.segments,
        "out_segments": last.segments,
        "normalization": None if config.normalization == "none" else config.normalization,
        "periodicity": config.periodicity,
    }


def _layer_state(layer: nn.Module) -> dict[str, Tensor]:
    state = {}
    for name, parameter in _named_parameters(layer).items():
        value = parameter.detach()
        if isinstance(layer, Links) and name == "w":
            value = value.permute(2, 0, 1)
        elif isinstance(layer, Links) and name == "weight":
            value = value.squeeze(1).T
        state[name] = value.clone(memory_format=torch.contiguous_format)
    if isinstance(layer, Links) and not isinstance(layer.basis, Piecewise | Identity):
        state["result"] = torch.zeros(layer.out_width, dtype=layer.weight.dtype)  # upstream's, which nothing reads
    return state


def _named_parameters(layer: nn.Module) -> dict[str, nn.Parameter]:
    """A layer's parameters under upstream's names."""
    if isinstance(layer, Switch):
        raise RequestError(
            f"upstream keeps the weights of {' and '.join(sorted(SWITCHES))} out of its state; "
            "convert a network without them"
        )
    if isinstance(layer, Links):
        if layer.bias is None:
            return {"w": layer.weight}
        return {"weight": layer.weight, "bias": layer.bias}
    if isinstance(layer, LinearRelu):
        return {f"f.{name}": parameter for name, parameter in layer.linear.named_parameters()}
    return dict(layer.named_parameters())


def _weight(layer: nn.Module) -> Tensor:
    """The links' table [in, V, out] of a layer, or a linear layer's matrix [out, in]."""
    linear = layer.linear if isinstance(layer, LinearRelu) else layer
    assert isinstance(linear, Links | nn.Linear)
    return linear.weight
