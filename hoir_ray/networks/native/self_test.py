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
_NUM_STEPS = 2  # the second shows what the first left behind
_RATE, _BETA1, _BETA2 = 0.1, 0.9, 0.99
_EPS = 1.0  # so large that a step is a smooth function of the gradient, whose smallest parts are rounding


@torch.inference_mode(mode=False)
def disagreement(kernels: ctypes.CDLL, dtype: torch.dtype) -> str | None:
    """What steps of the kernels have otherwise than torch, or None."""
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
    before = [p.detach().clone() for p in program.parameters]
    losses = _train_plainly(network, program.parameters, x, target)
    expected = {"losses": losses, "weights": _flat(program.parameters)}
    for parameter, value in zip(program.parameters, before, strict=True):
        parameter.data.copy_(value)
    update = Update(
        rule="adam",
        beta1=_BETA1,
        beta2=_BETA2,
        eps=_EPS,
        steps_done=0,
        rates=[_RATE] * _NUM_STEPS,
        moments=[(torch.zeros_like(p), torch.zeros_like(p)) for p in program.parameters],
    )
    index = torch.arange(NUM_ROWS).repeat(_NUM_STEPS, 1)
    found = {"losses": program.train(program.inputs((x,)), target, index, update=update)}
    found["weights"] = _flat(program.parameters)
    for name, wanted in expected.items():
        off = float((found[name] - wanted).abs().max() / wanted.abs().max())
        if not off <= TOLERANCE[dtype]:
            return f"{name} off by {off:.1g} of the largest"
    return None


def _train_plainly(network: nn.Module, parameters: Sequence[Tensor], x: Tensor, target: Tensor) -> Tensor:
    losses = []
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
    for step in range(1, _NUM_STEPS + 1):
        with torch.enable_grad():
            loss = functional.mse_loss(_plain(network, x), target)
            gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient, (first, second) in zip(parameters, gradients, moments, strict=True):
            first.lerp_(gradient, 1 - _BETA1)
            second.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
            root = (second / (1 - _BETA2**step)).sqrt_().add_(_EPS)
            parameter.data.addcdiv_(first, root, value=-_RATE / (1 - _BETA1**step))
        losses.append(loss.detach())
    return torch.stack(losses)


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
