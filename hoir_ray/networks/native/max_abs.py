"""Division by the largest magnitude of each sample: two passes over a row where torch alone makes ten."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hoir_ray.machine import compiler

EPS = 1e-6  # upstream's
_DEFINES = {torch.float32: ("REAL=float", "REAL_BITS=32"), torch.float64: ("REAL=double", "REAL_BITS=64")}


def plain(x: Tensor) -> Tensor:
    """Divide in torch alone, for other devices and second derivatives; of equal magnitudes `max` picks one."""
    return x / (x.abs().max(dim=1, keepdim=True)[0] + EPS)


def max_abs(x: Tensor) -> Tensor:
    """Rows [batch, width] within [-1, 1]."""
    if x.device.type == "cpu" and x.dim() == 2 and x.dtype in _DEFINES and _library(x.dtype) is not None:
        return _MaxAbs.apply(x)  # type: ignore[no-untyped-call]
    return plain(x)


class _MaxAbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)  # as given: a copy would have no history to differentiate twice
        x = x.contiguous()
        library, output = _library(x.dtype), torch.empty_like(x)
        assert library is not None
        library.forward(x.data_ptr(), output.data_ptr(), *x.shape, EPS)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            return torch.autograd.grad(plain(x), x, grad, create_graph=True)[0]
        x, grad = x.contiguous(), grad.contiguous()
        library, grad_x = _library(x.dtype), torch.empty_like(x)
        assert library is not None
        library.backward(x.data_ptr(), grad.data_ptr(), grad_x.data_ptr(), *x.shape, EPS)
        return grad_x


@functools.cache
def _library(dtype: torch.dtype) -> ctypes.CDLL | None:
    library = compiler.load(Path(__file__).parent / "max_abs.c", defines=_DEFINES[dtype])
    if library is not None:
        pointer, count, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
        library.forward.argtypes = [pointer, pointer, count, count, real]
        library.backward.argtypes = [pointer, pointer, pointer, count, count, real]
    return library
