"""The structs of a tape as the compiled kernels read them; the same fields as in tape.h."""

from __future__ import annotations

import ctypes
from enum import IntEnum, auto


class Operation(IntEnum):
    """`enum operation` of native/tape.h."""

    LINKS = 0
    BIAS = auto()
    FOLD = auto()
    RELU = auto()
    TANH = auto()
    MULTIPLY = auto()
    MODULATE = auto()
    ADD = auto()
    PICK = auto()
    MAX_ABS = auto()
    MAX_CENTER = auto()
    L2 = auto()
    LAYER_NORM = auto()


class OperationStruct(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("kind", "from_", "other", "to", "weight", "bias", "adds")),
        ("constant", ctypes.c_double),
        ("plan", ctypes.c_void_p),
    )


class ValueStruct(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in ("width", "has_gradient", "kept"))


class ParameterStruct(ctypes.Structure):
    """`Parameter` of native/tape.h; the addresses are filled in for every run, since tensors may be replaced."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("value", "moment", "square")),
        *((name, ctypes.c_int64) for name in ("rows", "columns", "is_transposed")),
        ("plan", ctypes.c_void_p),
    )


class TapeStruct(ctypes.Structure):
    """`Tape` of native/tape.h."""

    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in ("num_values", "num_operations", "num_shared", "num_parameters", "kept_width")
        ),
        *((name, ctypes.c_void_p) for name in ("values", "operations", "parameters")),
    )
