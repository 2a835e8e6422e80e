"""The compiled kernels of one precision: loaded once in a process, and used only where they agree with torch."""

from __future__ import annotations

import ctypes
import functools
import logging
from pathlib import Path

import torch

from hoir_ray.machine import compiler

C_TYPES = {torch.float32: ("float", ctypes.c_float), torch.float64: ("double", ctypes.c_double)}
_POINTER, _COUNT, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
_log = logging.getLogger(__name__)


@functools.cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The kernels, or None where this machine cannot compile them or compiles them wrongly."""
    loaded = load(dtype)
    if loaded is None:
        return None
    from hoir_ray.networks.native.self_test import disagreement  # it is made of layers, which are made of this

    wrong = disagreement(loaded, dtype)
    if wrong is None:
        return loaded
    _log.warning(
        "layers run in plain torch on the CPU, several times slower: compiled %s kernels fail: %s", dtype, wrong
    )
    return None


def load(dtype: torch.dtype, *, defines: tuple[str, ...] = ()) -> ctypes.CDLL | None:
    """kernels.c for this precision, untested; `defines` may set VECTOR_BYTES, to run what shorter vectors run."""
    source = Path(__file__).parent / "kernels.c"
    loaded = compiler.load(source, defines=(f"REAL={C_TYPES[dtype][0]}", *defines))
    if loaded is not None:
        loaded.links_forward.argtypes = [_POINTER] * 4 + [_COUNT]
        loaded.links_backward.argtypes = [_POINTER] * 6 + [_COUNT]
        loaded.max_abs_forward.argtypes = [_POINTER] * 2 + [_COUNT] * 2 + [_REAL]
        loaded.max_abs_backward.argtypes = [_POINTER] * 4 + [_COUNT] * 2 + [_REAL]
        loaded.run.argtypes = loaded.run_bytes.argtypes = [_POINTER]
        loaded.run_bytes.restype = _COUNT
    return loaded
