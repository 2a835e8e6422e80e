"""Sums of piecewise polynomials on a GPU: `combine`'s numbers from kernels.py, in a fraction of torch's time."""

from __future__ import annotations

import functools
import importlib.util
import logging
import math
from typing import Any

import torch
from torch import Tensor

from hoir_ray.networks.basis import Basis, Piecewise, Polynomial, factors, nodes
from hoir_ray.networks.combine import Join, combine, differentiable_gradients

MAX_OUTPUTS = 128  # wider layers are matrix products, which torch computes well
MAX_NODES = 8  # the kernels are written out for every node
_ROWS, _INPUTS, _WEIGHTS, _MOST_OUTPUTS = 32, 16, 64, 64  # of a block
_FORWARD_TILE = 4096  # rows by inputs by outputs, which a program holds in its registers
_MAX_PARTS = 64  # of the gradient to a table
_TOLERANCE = 1e-4  # of the largest value; wrong code is off by far more
_log = logging.getLogger(__name__)


def takes(x: Tensor, table: Tensor, *, basis: Basis, join: Join) -> bool:
    """Return whether `evaluate` can be called: on a GPU that Triton compiles for, with few nodes and few outputs."""
    if x.device.type != "cuda" or x.dtype != torch.float32 or join != "sum":
        return False
    if not isinstance(basis, Piecewise | Polynomial) or basis.num_nodes > MAX_NODES:
        return False
    return table.shape[2] <= MAX_OUTPUTS and table.numel() < 2**31 and compiles(x.device)


def evaluate(x: Tensor, table: Tensor, *, basis: Basis, join: Join) -> Tensor:
    """Outputs [batch, out] from inputs [batch, in] and a table [in, V, out]."""
    assert join == "sum"
    return _Links.apply(x, table, basis)  # type: ignore[no-untyped-call]


@functools.cache
def compiles(device: torch.device) -> bool:
    """Return whether kernels compiled here give torch's numbers; it takes seconds once on a machine."""
    if importlib.util.find_spec("triton") is None:
        _log.info("layers on the GPU run in plain torch: Triton is not installed")
        return False
    try:
        with torch.random.fork_rng(devices=[device]):
            wrong = _disagreement(device)
    except Exception as error:  # whatever Triton, a compiler or the driver raises: torch computes the same
        _log.warning("layers on the GPU run in plain torch: Triton failed (%s)", str(error).strip().split("\n")[0])
        return False
    if wrong > _TOLERANCE:
        _log.warning("layers on the GPU run in plain torch: Triton's numbers are off by %.1g", wrong)
    return wrong <= _TOLERANCE


def _disagreement(device: torch.device) -> float:
    """Largest difference from torch's outputs and gradients, relative to the largest of each."""
    basis, worst = Piecewise(3, 40, stride=2), 0.0
    x = torch.rand(70, 3, device=device) * 2.2 - 1.1
    table = torch.randn(3, basis.num_rows, 17, device=device)
    grad = torch.randn(70, 17, device=device)
    found = []
    with torch.enable_grad():
        for way in (evaluate, combine):
            given = [x.clone().requires_grad_(), table.clone().requires_grad_()]
            output = way(*given, basis=basis, join="sum")
            found.append([output.detach(), *torch.autograd.grad(output, given, grad)])
    for ours, torchs in zip(*found, strict=True):
        worst = max(worst, float((ours - torchs).abs().max() / torchs.abs().max()))
    return worst if math.isfinite(worst) else math.inf


class _Links(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor, basis: Piecewise | Polynomial) -> Tensor:
        from hoir_ray.networks.gpu import kernels

        ctx.save_for_backward(x, table)  # as given: a copy would have no history to differentiate twice
        ctx.basis = basis
        x, table = x.contiguous(), table.contiguous()
        output = x.new_empty(x.shape[0], table.shape[2])
        if x.shape[0]:
            block = _block(table.shape[2])
            inputs = min(_INPUTS, power_of_two(x.shape[1]))
            rows = max(1, _FORWARD_TILE // (inputs * block))
            grid = (ceil_div(x.shape[0], rows), ceil_div(table.shape[2], block))
            given, sizes, kind = _arguments(x, table, basis)
            kernels.forward[grid](x, table, *given, output, *sizes, **kind, ROWS=rows, INPUTS=inputs, OUTPUTS=block)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, table = ctx.saved_tensors
        needed = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():
            return *differentiable_gradients(x, table, grad, basis=ctx.basis, join="sum", needed=needed), None
        x, table, grad = x.contiguous(), table.contiguous(), grad.contiguous()
        grad_x = _grad_inputs(x, table, grad, ctx.basis) if needed[0] else None
        return grad_x, _grad_table(x, table, grad, ctx.basis) if needed[1] else None, None


def _grad_inputs(x: Tensor, table: Tensor, grad: Tensor, basis: Piecewise | Polynomial) -> Tensor:
    from hoir_ray.networks.gpu import kernels

    grad_x = torch.empty_like(x)
    if x.numel():
        given, sizes, kind = _arguments(x, table, basis)
        grid = (ceil_div(x.shape[0], _ROWS), x.shape[1])
        block = _block(table.shape[2])
        kernels.backward_inputs[grid](x, table, *given, grad, grad_x, *sizes, **kind, ROWS=_ROWS, OUTPUTS=block)
    return grad_x


def _grad_table(x: Tensor, table: Tensor, grad: Tensor, basis: Piecewise | Polynomial) -> Tensor:
    from hoir_ray.networks.gpu import kernels

    if not x.shape[0]:
        return torch.zeros_like(table)
    given, sizes, kind = _arguments(x, table, basis)
    num_parts = min(_MAX_PARTS, ceil_div(x.shape[0], _ROWS))
    parts = x.new_empty(num_parts, *table.shape)
    block = _block(table.shape[2])
    weights = min(_WEIGHTS, max(16, power_of_two(table.shape[1])))
    grid = (num_parts, x.shape[1], ceil_div(table.shape[1], weights) * ceil_div(table.shape[2], block))
    kernels.backward_table[grid](x, *given, grad, parts, *sizes, **kind, ROWS=_ROWS, WEIGHTS=weights, OUTPUTS=block)
    return parts.sum(dim=0)


def _arguments(
    x: Tensor, table: Tensor, basis: Piecewise | Polynomial
) -> tuple[tuple[Tensor, Tensor], tuple[int, ...], dict[str, Any]]:
    """Nodes and factors on the device; sizes; and what a kernel is compiled for."""
    is_piecewise = isinstance(basis, Piecewise)
    segments, stride = (basis.segments, basis.stride) if isinstance(basis, Piecewise) else (1, 0)
    sizes = (x.shape[0], x.shape[1], table.shape[2], table.shape[1], segments, stride)
    return _constants(basis.num_nodes, x.device), sizes, {"NODES": basis.num_nodes, "IS_PIECEWISE": is_piecewise}


@functools.cache
def _constants(num_nodes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    made = [torch.tensor(values(num_nodes, torch.float32), device=device) for values in (nodes, factors)]
    return made[0], made[1]


def _block(num_outputs: int) -> int:
    return min(_MOST_OUTPUTS, max(16, power_of_two(num_outputs)))


def power_of_two(number: int) -> int:
    """Round up to a power of two, as Triton's blocks must be."""
    return 1 << (number - 1).bit_length()


def ceil_div(number: int, size: int) -> int:
    """Divide, rounding up."""
    return -(-number // size)
