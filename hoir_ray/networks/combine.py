"""Joining a layer's links into its outputs with torch alone: rows taken in chunks, so that memory stays bounded.

`combine` is the plain form, any number of times differentiable; `evaluate` bounds its memory.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from hoir_ray.networks.basis import Basis

Join = Literal["sum", "prod"]

# Expanding to [batch, in * V] and one matrix product beats gathering rows up to about this many weights per value.
DENSE_WEIGHTS_PER_VALUE = 30
# Of a chunk's working memory: what a CPU's caches hold, and enough rows to keep a GPU busy.
CHUNK_BYTES = {"cpu": 2**24, "cuda": 2**28}


def combine(x: Tensor, table: Tensor, *, basis: Basis, join: Join, twice: bool = True) -> Tensor:
    """Outputs [batch, out] from inputs [batch, in] and a table [in, V, out].

    Args:
        twice: Whether it must be differentiable more than once, which the quick way for long tables is not.
    """
    num_inputs, num_rows, _ = table.shape
    first, values = basis(x)
    if _is_dense(basis):
        dense = values if first is None else _spread(first, values, num_rows)
        if join == "sum":
            return dense.flatten(1) @ table.flatten(0, 1)
        links = torch.bmm(dense.transpose(0, 1), table)
        return torch.prod(1 + links, dim=0) - 1

    assert first is not None
    offsets = torch.arange(num_inputs, device=x.device).unsqueeze(-1) * num_rows
    rows = (first.unsqueeze(-1) + offsets) + torch.arange(basis.num_values, device=x.device)
    flat = table.flatten(0, 1)
    if join == "sum" and not twice:
        return functional.embedding_bag(rows.flatten(1), flat, per_sample_weights=values.flatten(1), mode="sum")
    links = torch.einsum("bin,bino->bio", values, flat[rows])
    return links.sum(dim=1) if join == "sum" else torch.prod(1 + links, dim=1) - 1


def evaluate(x: Tensor, table: Tensor, *, basis: Basis, join: Join) -> Tensor:
    """Compute `combine` in chunks of about CHUNK_BYTES, which are computed again in the backward pass."""
    chunk = _chunk_rows(x, table, basis, join)
    if x.shape[0] <= chunk and _is_dense(basis):
        return combine(x, table, basis=basis, join=join)
    return _Chunked.apply(x, table, basis, join, chunk)  # type: ignore[no-untyped-call]


def differentiable_gradients(
    x: Tensor, table: Tensor, grad: Tensor, *, basis: Basis, join: Join, needed: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients to inputs and table as part of the graph, for optimizers that differentiate them again."""
    wanted = [tensor for tensor, need in zip((x, table), needed, strict=True) if need]
    with torch.enable_grad():
        output = combine(x, table, basis=basis, join=join)
        found = iter(torch.autograd.grad(output, wanted, grad, create_graph=True))
    return next(found) if needed[0] else None, next(found) if needed[1] else None


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor, basis: Basis, join: Join, chunk: int) -> Tensor:
        ctx.save_for_backward(x, table)
        ctx.basis, ctx.join, ctx.chunk = basis, join, chunk
        output = x.new_empty(x.shape[0], table.shape[2])
        for start in range(0, x.shape[0], chunk):
            rows = slice(start, start + chunk)
            output[rows] = combine(x[rows], table, basis=basis, join=join, twice=False)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        x, table = ctx.saved_tensors
        needed = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():
            return (
                *differentiable_gradients(x, table, grad, basis=ctx.basis, join=ctx.join, needed=needed),
                None,
                None,
                None,
            )
        grad_x = torch.empty_like(x) if needed[0] else None
        grad_table = torch.zeros_like(table) if needed[1] else None
        leaf = table.detach().requires_grad_(needed[1])
        for start in range(0, x.shape[0], ctx.chunk):
            rows = slice(start, start + ctx.chunk)
            part = x[rows].detach().requires_grad_(needed[0])
            with torch.enable_grad():
                output = combine(part, leaf, basis=ctx.basis, join=ctx.join, twice=False)
            wanted = [tensor for tensor in (part, leaf) if tensor.requires_grad]
            found = iter(torch.autograd.grad(output, wanted, grad[rows]))
            if grad_x is not None:
                grad_x[rows] = next(found)
            if grad_table is not None:
                grad_table += next(found)
        return grad_x, grad_table, None, None, None


def _is_dense(basis: Basis) -> bool:
    return basis.num_rows <= DENSE_WEIGHTS_PER_VALUE * basis.num_values


def _spread(first: Tensor, values: Tensor, num_rows: int) -> Tensor:
    """Values [batch, in, n] put at their rows of [batch, in, V], zero elsewhere."""
    rows = first.unsqueeze(-1) + torch.arange(values.shape[-1], device=first.device)
    return values.new_zeros(*values.shape[:2], num_rows).scatter(2, rows, values)


def _chunk_rows(x: Tensor, table: Tensor, basis: Basis, join: Join) -> int:
    wide = basis.num_rows if _is_dense(basis) else basis.num_values * (1 if join == "sum" else table.shape[2])
    per_link = max(wide, 4 * basis.num_values, table.shape[2] if join == "prod" else 0)
    return max(1, CHUNK_BYTES.get(x.device.type, CHUNK_BYTES["cpu"]) // (table.shape[0] * per_link * x.element_size()))
