from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hoir_ray.errors import PackError
from hoir_ray.packs.codec.steps import (
    HIGHEST_CODE,
    LARGEST_INTEGER,
    LOWEST_CODE,
    nearest_code,
    step_size,
    to_integers,
    to_weights,
)
from hoir_ray.packs.codec.tensors import (
    MAX_WEIGHTS,
    QuantizedTensor,
    best_leak,
    decode_tensors,
    differences,
    encode_tensors,
)

codes = st.integers(LOWEST_CODE, HIGHEST_CODE)
magnitudes = st.sampled_from([0, 1, 30, LARGEST_INTEGER])


@st.composite
def tensors(draw: st.DrawFn) -> QuantizedTensor:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=7))
    largest = draw(magnitudes)
    elements = st.integers(-largest, largest)
    return QuantizedTensor(integers=draw(hnp.arrays(np.int64, shape, elements=elements)), code=draw(codes))


@given(st.lists(tensors(), max_size=4))
def test_tensors_come_back(given_tensors: list[QuantizedTensor]) -> None:
    content = encode_tensors(given_tensors)
    shapes = [tensor.integers.shape for tensor in given_tensors]
    back = decode_tensors(content + b"\0\0\0\0", shapes, name="x.hoir")
    assert [tensor.code for tensor in back] == [tensor.code for tensor in given_tensors]
    for one, other in zip(back, given_tensors, strict=True):
        np.testing.assert_array_equal(one.integers, other.integers)


@given(st.binary(max_size=40))
def test_bytes_that_are_no_tensors_give_an_error_or_tensors_of_the_shapes(content: bytes) -> None:
    with contextlib.suppress(PackError):
        back = decode_tensors(content, [(2, 3, 2), (3,)], name="x.hoir")
        assert [tensor.integers.shape for tensor in back] == [(2, 3, 2), (3,)]
        assert all(np.abs(tensor.integers).max() <= LARGEST_INTEGER for tensor in back)


def test_a_smooth_link_is_coded_by_its_differences() -> None:
    walk = np.cumsum(np.random.default_rng(0).integers(-2, 3, (4, 60, 3)), axis=1)
    assert best_leak(walk) >= 6
    noise = np.random.default_rng(0).integers(-40, 41, (4, 60, 3))
    assert best_leak(noise) == 0
    plain, smooth = (len(encode_tensors([QuantizedTensor(integers=t, code=0)])) for t in (noise, walk))
    assert smooth < plain / 2


def test_differences_leave_the_first_of_each_link_as_it_is() -> None:
    table = np.array([[[8, -8], [9, -9]]])
    np.testing.assert_array_equal(differences(table, leak=8), [[[8, -8], [1, -1]]])
    np.testing.assert_array_equal(differences(table, leak=4), [[[8, -8], [5, -5]]])


@pytest.mark.parametrize(
    ("num_weights", "num_bytes", "rule"),
    [(MAX_WEIGHTS + 1, 2**30, "at most"), (MAX_WEIGHTS, 100, "cannot hold"), (1, 0, "cannot hold")],
)
def test_more_weights_than_may_be_are_refused_before_there_is_memory(
    num_weights: int, num_bytes: int, rule: str
) -> None:
    with pytest.raises(PackError, match=rule):
        decode_tensors(bytes(min(num_bytes, 1000)), [(num_weights,)], name="x.hoir")


@given(codes)
def test_steps_are_exact_and_four_to_an_octave(code: int) -> None:
    step = step_size(code)
    assert math.frexp(step)[0] * 512 == int(math.frexp(step)[0] * 512)  # nine significant bits
    assert nearest_code(step) == code
    if code + 4 <= HIGHEST_CODE:
        assert step_size(code + 4) == 2 * step


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(-40, 40))
def test_a_weight_is_rounded_to_the_nearest_step(weight: float, code: int) -> None:
    weights = np.array([weight], dtype=np.float32)
    integers = to_integers(weights, code=code)
    if abs(int(integers[0])) < LARGEST_INTEGER:
        assert abs(float(to_weights(integers, code=code)[0]) - weight) <= 0.5001 * step_size(code) + abs(weight) * 1e-7


def test_a_step_out_of_the_ladder_is_its_nearest_end() -> None:
    assert nearest_code(0.0) == LOWEST_CODE
    assert nearest_code(math.nan) == LOWEST_CODE
    assert nearest_code(1e300) == HIGHEST_CODE
