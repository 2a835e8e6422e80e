"""Optimizer steps of every kind of layer, compiled, against plain torch, to see that a compiler did its work.

Run as a program on every library when it is first made, since wrong code may end the process that runs it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoir_ray.machine.compiler import REFUSED_CODE
from hoir_ray.networks.basis import fold
from hoir_ray.networks.combine import combine
from hoir_ray.networks.config import LayerType, Normalization
from hoir_ray.networks.layers import Links, Switch, build_layer
from hoir_ray.networks.native import max_abs
from hoir_ray.networks.native.library import C_TYPES, declare
from hoir_ray.networks.normalization import MaxAbs, build_normalization
from hoir_ray.networks.recorded.program import Update, build_program
from hoir_ray.networks.resolve import ResolvedLayer

NUM_ROWS = 70  # more than the kernels take at a time, and not a multiple of it
TOLERANCE = {
    torch.float32: 3e-3,
    torch.float64: 1e-9,
}  # wrong code is off by far more; vectors of other lengths by 1e-4
_WIDTHS = (2, 9, 5, 6, 5, 7, 3)
_LAYERS: tuple[tuple[LayerType, int, Normalization], ...] = (
    ("continuous", 3, "max_abs"),
    ("switch_discontinuous", 2, "max_center"),
    ("polynomial_prod", 7, "l2"),
    ("fourier", 5, "layer_norm"),
    ("relu", 3, "none"),
    ("continuous", 4, "none"),
)
_NUM_STEPS = 2  # the second shows what the first left behind
_RATE, _BETA1, _BETA2 = 0.1, 0.9, 0.99
_EPS = 1.0  # so large that a step is a smooth function of the gradient, whose smallest parts are rounding


def main(c_type: str, path: str) -> None:
    """Exits with REFUSED_CODE where the library at `path` is wrong."""
    torch.set_num_threads(2)
    dtype = next(dtype for dtype, (name, _) in C_TYPES.items() if name == c_type)
    wrong = disagreement(declare(ctypes.CDLL(path)), dtype)
    if wrong is not None:
        print(wrong)  # noqa: T201 - read by the compiler's caller
        sys.exit(REFUSED_CODE)


def disagreement(kernels: ctypes.CDLL, dtype: torch.dtype) -> str | None:
    """Compare steps of the kernels with torch's and describe the first difference, or return None."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
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
    for (layer_type, num_nodes, normalization), in_width, out_width in zip(
        _LAYERS, _WIDTHS[:-1], _WIDTHS[1:], strict=True
    ):
        layer = ResolvedLayer(layer_type=layer_type, num_nodes=num_nodes, segments=4)
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


if __name__ == "__main__":
    main(*sys.argv[1:])
