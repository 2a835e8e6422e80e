"""Quantisation steps: a ladder of exact binary numbers, four to an octave, so that weights decode to the same bits."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32, Int64

# 256 * 2**(k / 4), rounded. A step has nine significant bits, so an integer of up to 2**44 times it is exact in double.
_MANTISSAS = (256, 304, 362, 431)
LOWEST_CODE, HIGHEST_CODE = -4 * 149, 4 * 127
LARGEST_INTEGER = 2**30 - 1


def step_size(code: int) -> float:
    """The step that `code` stands for: 1.0 at 0, doubled every four codes; the same double on every machine."""
    return math.ldexp(_MANTISSAS[code % 4], code // 4 - 8)


def nearest_code(step: float) -> int:
    """The code of the step nearest to `step`, on a logarithmic scale, within the ladder's ends."""
    if not step > 0:
        return LOWEST_CODE
    return min(max(round(4 * math.log2(step)), LOWEST_CODE), HIGHEST_CODE)


def to_integers(weights: Float32[np.ndarray, ...], *, code: int) -> Int64[np.ndarray, ...]:
    """Weights in whole steps, rounded to even, cut off at the largest integer that a file can hold."""
    scaled = np.rint(weights.astype(np.float64) / step_size(code))
    return np.clip(scaled, -LARGEST_INTEGER, LARGEST_INTEGER).astype(np.int64)


def to_weights(integers: Int64[np.ndarray, ...], *, code: int) -> Float32[np.ndarray, ...]:
    """Whole steps as weights: one exact product and one rounding to float32, both as IEEE 754 has them."""
    with np.errstate(over="ignore"):
        return (integers.astype(np.float64) * step_size(code)).astype(np.float32)
