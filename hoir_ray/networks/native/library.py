"""The compiled kernels of one precision, loaded once in a process; see self_test.py for when they are refused."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch

from hoir_ray.machine import compiler

C_TYPES = {torch.float32: ("float", ctypes.c_float), torch.float64: ("double", ctypes.c_double)}
SOURCE = Path(__file__).parent / "kernels.c"
_POINTER, _COUNT, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double


@functools.cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The kernels, or None where this machine cannot compile them or compiles them wrongly."""
    return load(dtype, test=("hoir_ray.networks.recorded.self_test", C_TYPES[dtype][0]))


def load(
    dtype: torch.dtype, *, source: Path = SOURCE, defines: tuple[str, ...] = (), test: tuple[str, ...] = ()
) -> ctypes.CDLL | None:
    """kernels.c for this precision.

    Args:
        defines: May set VECTOR_BYTES, to run what shorter vectors run.
        test: See `compiler.load`.
    """
    loaded = compiler.load(source, defines=(f"REAL={C_TYPES[dtype][0]}", *defines), test=test)
    return None if loaded is None else declare(loaded)


def declare(loaded: ctypes.CDLL) -> ctypes.CDLL:
    """The kernels with the types of their arguments."""
    loaded.links_forward.argtypes = [_POINTER] * 4 + [_COUNT]
    loaded.links_backward.argtypes = [_POINTER] * 6 + [_COUNT]
    loaded.max_abs_forward.argtypes = [_POINTER] * 2 + [_COUNT] * 2 + [_REAL]
    loaded.max_abs_backward.argtypes = [_POINTER] * 4 + [_COUNT] * 2 + [_REAL]
    loaded.run.argtypes = loaded.run_bytes.argtypes = [_POINTER]
    loaded.run_bytes.restype = _COUNT
    return loaded
