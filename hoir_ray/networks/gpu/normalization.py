"""Division by the largest magnitude of each sample on a GPU, one kernel where torch alone starts ten."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hoir_ray.networks.gpu.links import ceil_div, compiles, power_of_two

MAX_WIDTH = 1024
_BLOCK = 4096  # values of a program


def takes(x: Tensor) -> bool:
    """Return whether `max_abs` can be called."""
    if x.device.type != "cuda" or x.dtype != torch.float32 or x.dim() != 2 or not 0 < x.shape[1] <= MAX_WIDTH:
        return False
    return x.shape[0] > 0 and compiles(x.device)


def forward(x: Tensor, *, eps: float) -> Tensor:
    """Rows [batch, width] within [-1, 1]."""
    from hoir_ray.networks.gpu import kernels

    x, output = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    grid, sizes = _blocks(x)
    kernels.max_abs_forward[grid](x, output, *x.shape, eps, **sizes)
    return output


def backward(x: Tensor, grad: Tensor, *, eps: float) -> Tensor:
    """Gradient to the rows."""
    from hoir_ray.networks.gpu import kernels

    x, grad, grad_x = x.contiguous(), grad.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    grid, sizes = _blocks(x)
    kernels.max_abs_backward[grid](x, grad, grad_x, *x.shape, eps, **sizes)
    return grad_x


def _blocks(x: Tensor) -> tuple[tuple[int], dict[str, Any]]:
    width = power_of_two(x.shape[1])
    rows = min(32, max(1, _BLOCK // width))
    return (ceil_div(x.shape[0], rows),), {"ROWS": rows, "WIDTH": width}
