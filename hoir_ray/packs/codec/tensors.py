"""Weights in whole steps as one run of bytes: differences along each link, coded by what the tensor's own have been."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from hoir_ray.errors import PackError
from hoir_ray.packs.codec.integers import IntegerModel
from hoir_ray.packs.codec.range_coder import MAX_BITS_PER_BYTE, RangeDecoder, RangeEncoder
from hoir_ray.packs.codec.steps import HIGHEST_CODE, LARGEST_INTEGER, LOWEST_CODE

MAX_WEIGHTS = 2**26
WHOLE = 8  # `leak` is in eighths
_BLOCK = 65_536  # integers turned into Python's at a time
Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class QuantizedTensor:
    """A tensor in whole steps.

    Attributes:
        integers: Of the tensor's own shape; along the middle axis of three lie the weights of a link.
        code: The step's, as in `steps.step_size`.
    """

    integers: Int64[np.ndarray, ...]
    code: int


def encode_tensors(tensors: Iterable[QuantizedTensor]) -> bytes:
    """Encode all tensors one after the other, each after its step and its leak; the shapes are not in the bytes."""
    coder, codes, leaks, before = RangeEncoder(), IntegerModel(), IntegerModel(), 0
    for tensor in tensors:
        table = tensor.integers.reshape(as_links(tensor.integers.shape))
        leak = best_leak(table)
        codes.encode(tensor.code - before, coder)
        leaks.encode(leak, coder)
        before, model = tensor.code, IntegerModel()
        for value in _plain(differences(table, leak=leak)):
            model.encode(value, coder)
    return coder.finish()


def decode_tensors(content: bytes, shapes: Sequence[Shape], *, name: str) -> list[QuantizedTensor]:
    """The tensors of these shapes.

    Raises:
        PackError: If the bytes cannot hold so many numbers, or hold a number that none of ours do.
    """
    check_size(sum(map(math.prod, shapes)), num_bytes=len(content), name=name)
    coder, codes, leaks, code = RangeDecoder(content), IntegerModel(), IntegerModel(), 0
    tensors = []
    for shape in shapes:
        code += codes.decode(coder)
        leak, model = leaks.decode(coder), IntegerModel()
        if not (LOWEST_CODE <= code <= HIGHEST_CODE and 0 <= leak <= WHOLE):
            raise PackError(f"{name}: damaged; a tensor has the step {code} and the leak {leak}, which no file has")
        count = math.prod(shape)
        flat = np.fromiter((model.decode(coder) for _ in range(count)), dtype=np.int64, count=count)
        integers = _sums(flat.reshape(as_links(shape)), leak=leak).reshape(shape)
        if count and np.abs(integers).max() > LARGEST_INTEGER:
            raise PackError(f"{name}: damaged; a weight has more than {LARGEST_INTEGER} steps")
        tensors.append(QuantizedTensor(integers=integers, code=code))
    return tensors


def check_size(num_weights: int, *, num_bytes: int, name: str) -> None:
    """Refuse a number of weights before there is memory for them.

    Raises:
        PackError: If it is above the limit, or above what `num_bytes` can say under any model.
    """
    if num_weights > MAX_WEIGHTS:
        raise PackError(f"{name}: must have at most {MAX_WEIGHTS:,} weights, got {num_weights:,}")
    if num_weights > num_bytes * MAX_BITS_PER_BYTE:
        raise PackError(f"{name}: damaged; {num_bytes:,} bytes cannot hold {num_weights:,} weights")


def as_links(shape: Shape) -> tuple[int, int, int]:
    """A shape as (inputs, weights of a link, outputs); a matrix or a vector has one weight a link."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return 1, 1, math.prod(shape)


def differences(table: Int64[np.ndarray, "in V out"], *, leak: int) -> Int64[np.ndarray, "in V out"]:
    """Each integer less `leak` eighths of the one before it in its link, rounded half up."""
    changed = table.copy()
    if leak:
        changed[:, 1:] -= _predicted(table[:, :-1], leak=leak)
    return changed


def best_leak(table: Int64[np.ndarray, "in V out"]) -> int:
    """The leak with the fewest bits by the entropy of what it leaves; 0 for links of one weight."""
    if table.shape[1] < 2:
        return 0
    return min(range(WHOLE + 1), key=lambda leak: entropy_bits(differences(table, leak=leak)))


def entropy_bits(integers: Int64[np.ndarray, ...]) -> float:
    """Bits of the integers under their own frequencies, which adaptive models come near to."""
    if not integers.size:
        return 0.0
    _, counts = np.unique(integers, return_counts=True)
    return float(-(counts * np.log2(counts / integers.size)).sum())


def _sums(table: Int64[np.ndarray, "in V out"], *, leak: int) -> Int64[np.ndarray, "in V out"]:
    if leak:
        for row in range(1, table.shape[1]):
            table[:, row] += _predicted(table[:, row - 1], leak=leak)
    return table


def _predicted(before: Int64[np.ndarray, ...], *, leak: int) -> Int64[np.ndarray, ...]:
    return leak * before + WHOLE // 2 >> 3


def _plain(table: Int64[np.ndarray, "in V out"]) -> Iterator[int]:
    flat = table.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        yield from flat[start : start + _BLOCK].tolist()
