"""The sampling compiled for the CPU: what `RandomPixels` does in plain torch, in one pass and many times faster."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch
from torch import Tensor

from hoir_ray.machine import compiler
from hoir_ray.pictures.colours import from_bytes

_POINTERS = ("steps", "relative", "table", "colours")
_NUMBERS = ("side", "num", "num_axes", "per_picture", "num_pictures", "num_slots", "steps_per_pixel", "flips")


class Plan(ctypes.Structure):
    """Constants of all batches; the same fields as in draw.c."""

    _fields_ = [*((name, ctypes.c_int64) for name in _NUMBERS), *((name, ctypes.c_void_p) for name in _POINTERS)]


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled sampling, or None where this machine has no C compiler."""
    loaded = compiler.load(Path(__file__).parent / "draw.c")
    if loaded is not None:
        pointer, count = ctypes.c_void_p, ctypes.c_int64
        loaded.draw.argtypes = [ctypes.POINTER(Plan), pointer, count, ctypes.c_uint32, pointer, pointer]
        loaded.draw.restype = None
    return loaded


@functools.cache
def colours() -> Tensor:
    """The float that each byte stands for, computed as for a whole batch."""
    return from_bytes(torch.arange(256, dtype=torch.uint8))


def draw(
    index: Tensor,
    *,
    numbers: dict[str, int],
    steps: Tensor,
    relative: Tensor,
    table: Tensor,
    salt: int,
) -> tuple[Tensor, Tensor]:
    """Features and targets of the samples `index`; all tensors on the CPU."""
    loaded, of_bytes, index = library(), colours(), index.contiguous()
    assert loaded is not None
    pointers = (steps.data_ptr(), relative.data_ptr(), table.data_ptr(), of_bytes.data_ptr())
    plan = Plan(**numbers, **dict(zip(_POINTERS, pointers, strict=True)))
    # draw.c writes floats, whatever the default type is.
    features = torch.empty(len(index), numbers["num"] * (3 + numbers["num_axes"]), dtype=torch.float32)
    targets = torch.empty(len(index), 3, dtype=torch.float32)
    loaded.draw(
        ctypes.byref(plan), index.data_ptr(), len(index), salt & 0xFFFFFFFF, features.data_ptr(), targets.data_ptr()
    )
    return features, targets
