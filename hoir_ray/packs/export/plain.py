"""Networks in plain torch operations, without compiled layers or chunks, as torch.export can follow them."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hoir_ray import __version__
from hoir_ray.errors import RequestError
from hoir_ray.networks import combine
from hoir_ray.networks.basis import Fourier, Identity, Piecewise, Polynomial, factors, fold, nodes
from hoir_ray.networks.layers import LinearRelu, Links, Switch
from hoir_ray.networks.mlp import MLP
from hoir_ray.networks.native.max_abs import plain as plain_max_abs
from hoir_ray.networks.normalization import L2, MaxAbs, MaxCenter
from hoir_ray.networks.waves import Wave, wave
from hoir_ray.packs.pack import Pack
from hoir_ray.tasks.text_to_image.config import TextToImageFacts
from hoir_ray.tasks.text_to_image.data import dictionary_of
from hoir_ray.tasks.text_to_image.network import CaptionedPixels, ModulatedPixels

_KEPT = (Switch, LinearRelu, nn.Linear, nn.LayerNorm, nn.Identity, MaxCenter, L2)


class _PlainLinks(nn.Module):
    def __init__(self, links: Links) -> None:
        super().__init__()
        self.basis, self.join, self.periodicity = links.basis, links.join, links.periodicity
        self.weight, self.bias = links.weight, links.bias
        if isinstance(self.basis, Piecewise | Polynomial):  # kept from now on: numbers cannot be read while tracing
            for dtype in (torch.float32, torch.float64):
                nodes(self.basis.num_nodes, dtype), factors(self.basis.num_nodes, dtype)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.periodicity is None else fold(x, self.periodicity)
        output = combine.combine(x, self.weight, basis=self.basis, join=self.join)
        return output if self.bias is None else output + self.bias


class _PlainMaxAbs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return plain_max_abs(x)


class _OfOneCaption(nn.Module):
    """Colours at positions of the picture of one embedding."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, embedding: Tensor, position: Tensor) -> Tensor:
        return self.network(embedding, torch.zeros_like(position[:, 0], dtype=torch.int64), position)


class _PlainWave(nn.Module):
    """A wave without its care for half precision."""

    def __init__(self, given: Wave) -> None:
        super().__init__()
        self.linear, self.kind, self.omega, self.scale = given.linear, given.kind, given.omega, given.scale

    def forward(self, x: Tensor) -> Tensor:
        return wave(self.linear(x), self.kind, omega=self.omega, scale=self.scale)


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A network for export.

    Attributes:
        inputs: Name of each input -> numbers for a trace; the first dimension of the last is the batch.
        about: What a reader has to know to use it, as JSON.
    """

    network: nn.Module
    inputs: dict[str, Tensor]
    about: str


def plain_network(pack: Pack, *, kind: str) -> Plain:
    """The pack's network in plain operations, and numbers to trace it with.

    Args:
        kind: The format, for the message.

    Raises:
        RequestError: If the network has a layer that cannot be exported.
    """
    network = _replaced(copy.deepcopy(pack.network), kind=kind).eval().requires_grad_(False)
    about = {
        "program": f"hoir_ray {__version__}",
        "task": pack.task.name,
        "data": pack.config.model_dump(mode="json")["data"],
        "facts": pack.facts.model_dump(mode="json", exclude={"embeddings_f32_base64", "layout_f32_base64"}),
        "outputs": "in [-1, 1], shown as (value + 1) / 2",
    }
    generator = torch.Generator().manual_seed(0)

    def numbers(rows: int, width: int) -> Tensor:
        return torch.rand(rows, width, generator=generator) * 2 - 1

    if isinstance(pack.facts, TextToImageFacts):
        axes = 2 * about["data"]["num_rotations"]
        embedding = next(iter(dictionary_of(pack.facts).values())).unsqueeze(0)
        inputs = {"embedding": embedding.clone(), "position": numbers(5, axes)}
        return Plain(network=_OfOneCaption(network), inputs=inputs, about=json.dumps(about))
    assert isinstance(pack.network, MLP)
    return Plain(network=network, inputs={"input": numbers(5, pack.network.in_width)}, about=json.dumps(about))


def _replaced(module: nn.Module, *, kind: str) -> nn.Module:
    """The module with every compiled part of it exchanged for plain operations.

    Raises:
        RequestError: For a layer that has no plain form here.
    """
    if isinstance(module, Links):
        if not isinstance(module.basis, Piecewise | Polynomial | Fourier | Identity):
            raise _unknown(module.basis, kind)
        return _PlainLinks(module)
    if isinstance(module, Wave):
        return _PlainWave(module)
    if isinstance(module, MaxAbs):
        return _PlainMaxAbs()
    if not isinstance(module, (*_KEPT, MLP, CaptionedPixels, ModulatedPixels, nn.Sequential, nn.ModuleList)):
        raise _unknown(module, kind)
    for name, child in module.named_children():
        setattr(module, name, _replaced(child, kind=kind))
    return module


def _unknown(part: object, kind: str) -> RequestError:
    return RequestError(f"--format {kind}: layers of kind {type(part).__name__} cannot be exported in this format yet")
