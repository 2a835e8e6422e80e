"""A pack's facts as a header holds them: arrays of numbers apart from plain values, and nothing that would follow."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from hoir_ray.errors import PackError
from hoir_ray.pictures.load import MAX_PIXELS
from hoir_ray.training.facts import Facts

_ARRAY, _NUM_NUMBERS = "_f32_base64", "float32"
ARRAY_BITS = 11  # of the largest number's step; the dictionary's embeddings need no more to draw the same

Array = Float32[np.ndarray, " numbers"]


def to_header(facts: Facts) -> tuple[dict[str, Any], list[Array]]:
    """Plain facts, in which an array is represented by its length, and the arrays in order."""
    plain, arrays = facts.model_dump(mode="json", exclude_none=True), []
    if _num_pixels(plain) == plain.get("num_pixels"):
        plain.pop("num_pixels", None)
    for name, value in plain.items():
        if name.endswith(_ARRAY):
            arrays.append(np.frombuffer(base64.b64decode(str(value)), dtype="<f4").astype(np.float32))
            plain[name] = {_NUM_NUMBERS: len(arrays[-1])}
    return plain, arrays


def array_lengths(facts: Mapping[str, Any], *, name: str) -> list[int]:
    """Count the numbers of each array in a header's facts.

    Raises:
        PackError: If that is not said, or a fact is no plain value that a pack may have.
    """
    lengths = []
    for fact, value in facts.items():
        if fact.endswith(_ARRAY):
            length = value.get(_NUM_NUMBERS) if isinstance(value, dict) else None
            if not isinstance(length, int) or isinstance(length, bool) or length < 0:
                raise PackError(f"{name}: the fact '{fact}' must say how many numbers it has, got {value!r}")
            lengths.append(length)
        elif not _is_plain(value):
            raise PackError(f"{name}: the fact '{fact}' must be a number, a text or a list of texts, got {value!r}")
    _check_sizes(facts, name=name)
    return lengths


def from_header(facts: Mapping[str, Any], arrays: Sequence[Array]) -> dict[str, Any]:
    """The facts of the pack again, as plain values."""
    remaining = iter(arrays)
    whole: dict[str, Any] = {}
    for name, value in facts.items():
        if name.endswith(_ARRAY):
            whole[name] = base64.b64encode(next(remaining).astype("<f4").tobytes()).decode()
        else:
            whole[name] = value
    num_pixels = _num_pixels(whole)
    return whole if num_pixels is None else {"num_pixels": num_pixels, **whole}


def _num_pixels(facts: Mapping[str, Any]) -> int | None:
    height, width = facts.get("height"), facts.get("width")
    return height * width if isinstance(height, int) and isinstance(width, int) else None


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))


def _check_sizes(facts: Mapping[str, Any], *, name: str) -> None:
    """Drawing allocates what `height` and `width` say."""
    if not {"height", "width"} & facts.keys():
        return
    num_pixels = _num_pixels(facts)
    if num_pixels is None or min(facts["height"], facts["width"]) < 2 or num_pixels > MAX_PIXELS:
        raise PackError(
            f"{name}: height and width must be >= 2 and at most {MAX_PIXELS:,} pixels, "
            f"got {facts.get('width')!r} x {facts.get('height')!r}"
        )
