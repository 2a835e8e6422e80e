"""A network that represents pictures as a list of plain steps and one array of numbers, for other languages to run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hoir_ray.errors import RequestError
from hoir_ray.networks.basis import Fourier, Identity, Piecewise, Polynomial, factors, nodes
from hoir_ray.networks.layers import LinearRelu, Links, Switch
from hoir_ray.networks.mlp import MLP
from hoir_ray.networks.normalization import L2, MaxAbs, MaxCenter
from hoir_ray.networks.waves import Wave
from hoir_ray.tasks.text_to_image.network import CaptionedPixels, ModulatedPixels, scaled, spread

_NAMES: dict[type, str] = {
    Piecewise: "piecewise",
    Polynomial: "polynomial",
    Fourier: "fourier",
    Identity: "identity",
    MaxAbs: "max_abs",
    MaxCenter: "max_center",
    L2: "l2",
}


@dataclass
class Steps:
    """Steps in the order in which a sample runs through them.

    Attributes:
        steps: What each does, with the places of its weights among the numbers.
        captions: Numbers that steps take from the caption, [captions, numbers]; None without captions.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)
    captions: np.ndarray | None = None
    _arrays: list[np.ndarray] = field(default_factory=list)
    _length: int = 0

    @property
    def numbers(self) -> np.ndarray:
        """Weights of all steps, float32, one after the other."""
        return np.concatenate([np.zeros(0, np.float32), *self._arrays])

    def add(self, step: dict[str, Any]) -> None:
        """Append a step; one without a width of its own keeps that of the step before."""
        before = self.steps[-1] if self.steps else {}
        self.steps.append({"width": step.get("out", before.get("width")), **step})

    def keep(self, tensor: Tensor) -> int:
        """Append a tensor's numbers, row by row, and return the place of the first."""
        array = tensor.detach().cpu().float().contiguous().numpy().ravel()
        self._arrays.append(array)
        self._length += array.size
        return self._length - array.size


@torch.no_grad()
def steps_of(network: nn.Module, *, dictionary: Tensor | None = None) -> Steps:
    """The steps from positions to colours in [-1, 1].

    Args:
        dictionary: Embeddings [captions, embedding] of those that can be drawn.

    Raises:
        RequestError: If the network has a layer that has no step.
    """
    steps = Steps()
    match network:
        case MLP():
            _run(network.layers, steps)
        case CaptionedPixels():
            assert dictionary is not None
            steps.captions = network.caption_layer(spread(dictionary)).numpy()
            _run([network.position_layer], steps)
            steps.add({"kind": "add", "offset": 0})
            _run([network.normalization, *network.mlp.layers], steps)
        case ModulatedPixels():
            assert dictionary is not None
            code = torch.tanh(network.code(scaled(dictionary)))
            rows = [modulation(code) for modulation in network.modulations]
            steps.captions = torch.cat(rows, dim=1).numpy()
            offset = 0
            for layer, row, normalize in zip(network.layers, rows, network.normalizations, strict=True):
                _run([layer], steps)
                steps.add({"kind": network.mode, "offset": offset})
                _run([normalize], steps)
                offset += row.shape[1]
            _run([network.output], steps)
        case _:
            raise RequestError(f"a network of kind {type(network).__name__} cannot be exported in this format")
    return steps


def _run(layers: nn.Sequential | list[nn.Module], steps: Steps) -> None:
    for layer in layers:
        for step in _steps_of_layer(layer, steps):
            steps.add(step)


def _steps_of_layer(layer: nn.Module, steps: Steps) -> Iterator[dict[str, Any]]:
    match layer:
        case Links():
            yield _links([layer], steps)
        case Switch():
            halves = [half for half in layer.halves if isinstance(half, Links)]
            yield _links(halves, steps)
        case LinearRelu():
            yield _linear(layer.linear, steps) | {"activation": "relu"}
        case Wave():
            yield _linear(layer.linear, steps) | {"activation": layer.kind, "omega": layer.omega, "scale": layer.scale}
        case nn.Linear():
            yield _linear(layer, steps)
        case nn.LayerNorm():
            places = {"weight": steps.keep(layer.weight), "bias": steps.keep(layer.bias)}
            yield {"kind": "layer_norm", "eps": layer.eps, **places}
        case MaxAbs() | MaxCenter() | L2():
            yield {"kind": _NAMES[type(layer)]}
        case nn.Identity():
            return
        case _:
            raise _unknown(layer)


def _links(halves: list[Links], steps: Steps) -> dict[str, Any]:
    first = halves[0]
    basis = first.basis
    if type(basis) not in _NAMES:
        raise _unknown(basis)
    step: dict[str, Any] = {
        "kind": "links",
        "in": first.in_width,
        "out": first.out_width,
        "basis": _NAMES[type(basis)],
        "values": basis.num_values,
        "rows": basis.num_rows,
        "join": first.join,
        "period": first.periodicity,
        "tables": [steps.keep(half.weight) for half in halves],
        "bias": None if first.bias is None else steps.keep(first.bias),
    }
    if isinstance(basis, Piecewise):
        step |= {"segments": basis.segments, "stride": basis.stride}
    if isinstance(basis, Piecewise | Polynomial):
        n = basis.num_nodes
        step |= {"nodes": nodes(n, torch.float32), "factors": factors(n, torch.float32)}
    return step


def _linear(linear: nn.Linear, steps: Steps) -> dict[str, Any]:
    return {
        "kind": "links",
        "in": linear.in_features,
        "out": linear.out_features,
        "basis": "identity",
        "values": 1,
        "rows": 1,
        "join": "sum",
        "period": None,
        "tables": [steps.keep(linear.weight.T)],
        "bias": steps.keep(linear.bias),
    }


def _unknown(part: object) -> RequestError:
    return RequestError(f"layers of kind {type(part).__name__} cannot be exported in this format yet")
