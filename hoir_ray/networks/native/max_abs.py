"""Division by the largest magnitude of each sample: two passes over a row where torch alone makes ten."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hoir_ray.networks.gpu import normalization as gpu
from hoir_ray.networks.native.library import C_TYPES, library

EPS = 1e-6  # upstream's


def plain(x: Tensor) -> Tensor:
    """Divide in torch alone, for other devices and second derivatives; of equal magnitudes `max` picks one."""
    return x / (x.abs().max(dim=1, keepdim=True)[0] + EPS)


def max_abs(x: Tensor) -> Tensor:
    """Rows [batch, width] within [-1, 1]."""
    in_c = x.device.type == "cpu" and x.dim() == 2 and x.dtype in C_TYPES and library(x.dtype) is not None
    if in_c or gpu.takes(x):
        return _MaxAbs.apply(x)  # type: ignore[no-untyped-call]
    return plain(x)


class _MaxAbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        given, x = x, x.contiguous()
        if x.is_cuda:
            ctx.save_for_backward(given, given)
            return gpu.forward(x, eps=EPS)
        kernels, output = library(x.dtype), torch.empty_like(x)
        assert kernels is not None
        ctx.save_for_backward(given, output)  # as given: a copy would have no history to differentiate twice
        kernels.max_abs_forward(x.data_ptr(), output.data_ptr(), *x.shape, EPS)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, output = ctx.saved_tensors
        if torch.is_grad_enabled():
            return torch.autograd.grad(plain(x), x, grad, create_graph=True)[0]
        if x.is_cuda:
            return gpu.backward(x, grad, eps=EPS)
        x, grad = x.contiguous(), grad.contiguous()
        kernels, grad_x = library(x.dtype), torch.empty_like(x)
        assert kernels is not None
        kernels.max_abs_backward(x.data_ptr(), output.data_ptr(), grad.data_ptr(), grad_x.data_ptr(), *x.shape, EPS)
        return grad_x
