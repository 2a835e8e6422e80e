"""The layers' links compiled for the CPU: `combine`'s numbers from links.h, in a fraction of torch's time."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from hoir_ray.networks.basis import FLOAT32_NODES, Basis, Fourier, Identity, Piecewise, Polynomial, factors, nodes
from hoir_ray.networks.combine import Join, differentiable_gradients
from hoir_ray.networks.native.library import C_TYPES, library

ROWS_PER_THREAD = 1024  # fewer are done sooner than a thread is started
_KINDS = (Polynomial, Piecewise, Fourier, Identity)


class Plan(ctypes.Structure):
    """`Plan` of layout.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("kind", "is_product", "num_inputs", "num_outputs")),
        *((name, ctypes.c_int64) for name in ("num_values", "num_rows", "segments", "stride")),
        ("nodes", ctypes.c_void_p),
        ("factors", ctypes.c_void_p),
    )


def takes(x: Tensor, basis: Basis) -> bool:
    """Return whether `evaluate` can be called: on the CPU, with compiled kernels, within float32's range."""
    if x.device.type != "cpu" or x.dtype not in C_TYPES:
        return False
    return in_range(basis, x.dtype) and library(x.dtype) is not None


def in_range(basis: Basis, dtype: torch.dtype) -> bool:
    """Return whether the basis can be computed in this precision."""
    return basis.num_values <= FLOAT32_NODES or dtype == torch.float64 or isinstance(basis, Fourier)


def evaluate(x: Tensor, table: Tensor, *, basis: Basis, join: Join) -> Tensor:
    """Outputs [batch, out] from inputs [batch, in] and a table [in, V, out], in memory for 64 rows at a time."""
    return _Links.apply(x, table, basis, join)  # type: ignore[no-untyped-call]


class _Links(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor, basis: Basis, join: Join) -> Tensor:
        ctx.save_for_backward(x, table)  # as given: a copy would have no history to differentiate twice
        x, table = x.contiguous(), table.contiguous()
        ctx.basis, ctx.join = basis, join
        plan, kernels = plan_of(basis, join, *table.shape[::2], x.dtype), library(x.dtype)
        assert kernels is not None
        output = x.new_empty(x.shape[0], table.shape[2])

        def part(start: int, stop: int) -> None:
            ran_out = kernels.links_forward(plan, _at(x, start), _at(table), _at(output, start), stop - start)
            _check_memory(ran_out)

        _in_parts(part, x.shape[0])
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, table = ctx.saved_tensors
        needed = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():
            given = (x, table, grad)
            return *differentiable_gradients(*given, basis=ctx.basis, join=ctx.join, needed=needed), None, None
        x, table, grad = x.contiguous(), table.contiguous(), grad.contiguous()
        plan, kernels = plan_of(ctx.basis, ctx.join, *table.shape[::2], x.dtype), library(x.dtype)
        assert kernels is not None
        grad_x = torch.empty_like(x) if needed[0] else None
        sums: dict[int, Tensor] = {}

        def part(start: int, stop: int) -> None:
            grad_table = sums[start] = torch.empty_like(table)
            to_x = None if grad_x is None else _at(grad_x, start)
            _check_memory(
                kernels.links_backward(
                    plan, _at(x, start), _at(table), _at(grad, start), to_x, _at(grad_table), stop - start
                )
            )

        _in_parts(part, x.shape[0])
        # In order of their rows, whichever thread was done first, so that a run can be repeated to the bit.
        grad_table = functools.reduce(torch.add, [sums[start] for start in sorted(sums)])
        return grad_x, grad_table if needed[1] else None, None, None


def _at(tensor: Tensor, row: int = 0) -> int:
    return tensor.data_ptr() + row * tensor.stride(0) * tensor.element_size()


def _in_parts(part: Callable[[int, int], None], num_rows: int) -> None:
    """Runs `part(start, stop)` over all rows, on as many of torch's threads as are worth it."""
    num_parts = max(1, min(torch.get_num_threads(), num_rows // ROWS_PER_THREAD))
    if num_parts == 1:
        part(0, num_rows)
        return
    size = math.ceil(num_rows / num_parts)
    starts = range(0, num_rows, size)
    with ThreadPoolExecutor(len(starts)) as pool:
        list(pool.map(part, starts, [min(start + size, num_rows) for start in starts]))


def _check_memory(ran_out: int) -> None:
    if ran_out:
        raise MemoryError("the layers' compiled code could not allocate its working memory")


@functools.lru_cache(maxsize=1024)
def plan_of(basis: Basis, join: Join, num_inputs: int, num_outputs: int, dtype: torch.dtype) -> Any:
    plan = Plan(
        kind=_KINDS.index(type(basis)),
        is_product=join == "prod",
        num_inputs=num_inputs,
        num_outputs=num_outputs,
        num_values=basis.num_values,
        num_rows=basis.num_rows,
    )
    if isinstance(basis, Piecewise):
        plan.segments, plan.stride = basis.segments, basis.stride
    if isinstance(basis, Piecewise | Polynomial):
        array = C_TYPES[dtype][1] * basis.num_nodes
        plan.arrays = array(*nodes(basis.num_nodes, dtype)), array(*factors(basis.num_nodes, dtype))
        plan.nodes, plan.factors = (ctypes.addressof(values) for values in plan.arrays)
    return ctypes.pointer(plan)
