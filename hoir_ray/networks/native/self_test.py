"""One optimizer step of every kind of layer, compiled, against plain torch: whether a compiler did its work."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoir_ray.networks.basis import fold
from hoir_ray.networks.combine import combine
from hoir_ray.networks.config import LayerType, Normalization
from hoir_ray.networks.layers import Links, Switch, build_layer
from hoir_ray.networks.native import max_abs
from hoir_ray.networks.native.program import Update, build_program
from hoir_ray.networks.normalization import MaxAbs, build_normalization
from hoir_ray.networks.resolve import ResolvedLayer

NUM_ROWS = 70  # more than the kernels take at a time, and not a multiple of it
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
_WIDTHS = (2, 9, 5, 6, 5, 7, 3)
_LAYERS: tuple[tuple[LayerType, Normalization], ...] = (
    ("continuous", "max_abs"),
    ("switch_discontinuous", "max_center"),
    ("polynomial_prod", "l2"),
    ("fourier", "layer_norm"),
    ("relu", "none"),
    ("continuous", "none"),
)
_RATE, _EPS = 0.1, 1.0  # so large that the step is a smooth function of the gradient, whose smallest parts are rounding


def disagreement(kernels: ctypes.CDLL, dtype: torch.dtype) -> str | None:
    """What a step of the kernels has otherwise than torch, or None."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _build_chain().to(dtype)
        x, target = (
            torch.rand(NUM_ROWS, _WIDTHS[0], dtype=dtype) * 2 - 1,
            torch.rand(NUM_ROWS, _WIDTHS[-1], dtype=dtype),
        )
    program = build_program(network, (x,), num_rows=NUM_ROWS, kernels=kernels)
    if program is None:
        return "their description is not understood"
    with torch.enable_grad(), torch.inference_mode(mode=False):
        loss = functional.mse_loss(_plain(network, x), target)
        gradients = torch.autograd.grad(loss, list(program.parameters))
    expected = [p.detach() - _RATE * g / (g.abs() + _EPS) for p, g in zip(program.parameters, gradients, strict=True)]
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in program.parameters]
    update = Update(rule="adam", beta1=0.9, beta2=0.99, eps=_EPS, steps_done=0, rates=[_RATE], moments=moments)
    found = program.train(program.inputs((x,)), target, torch.arange(NUM_ROWS)[None], update=update)
    pairs = {"loss": (found[0], loss.detach()), "weights": (_flat(program.parameters), _flat(expected))}
    for name, (got, wanted) in pairs.items():
        off = float((got - wanted).abs().max() / wanted.abs().max())
        if not off <= TOLERANCE[dtype]:
            return f"{name} off by {off:.1g} of the largest"
    return None


def _build_chain() -> nn.Sequential:
    parts: list[nn.Module] = []
    for (layer_type, normalization), in_width, out_width in zip(_LAYERS, _WIDTHS[:-1], _WIDTHS[1:], strict=True):
        layer = ResolvedLayer(layer_type=layer_type, num_nodes=3, segments=4, periodicity=None)
        parts.append(build_layer(layer, in_width=in_width, out_width=out_width))
        if (normal := build_normalization(normalization, width=out_width)) is not None:
            parts.append(normal)
    for parameter in (p for part in parts for p in part.parameters()):
        parameter.data.normal_()
    return nn.Sequential(*parts)


def _plain(module: nn.Module, x: Tensor) -> Tensor:
    """The module without compiled code."""
    match module:
        case nn.Sequential():
            for part in module:
                x = _plain(part, x)
            return x
        case Switch():
            return _plain(module.halves[0], x) * _plain(module.halves[1], x)
        case Links():
            x = x if module.periodicity is None else fold(x, module.periodicity)
            joined = combine(x, module.weight, basis=module.basis, join=module.join)
            return joined if module.bias is None else joined + module.bias
        case MaxAbs():
            return max_abs.plain(x)
        case _:
            return module(x)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.detach().flatten() for t in tensors])
