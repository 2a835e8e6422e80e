from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hoir_ray.packs.codec.integers import MAX_DIGITS, IntegerModel
from hoir_ray.packs.codec.range_coder import MAX_BITS_PER_BYTE, Bits, RangeDecoder, RangeEncoder

LARGEST = 2**MAX_DIGITS - 1
small = st.integers(-3, 3)
integers = st.lists(st.one_of(small, st.integers(-200, 200), st.integers(-LARGEST, LARGEST)), max_size=200)


def encoded(values: list[int]) -> bytes:
    coder, model = RangeEncoder(), IntegerModel()
    for value in values:
        model.encode(value, coder)
    return coder.finish()


def decoded(content: bytes, count: int) -> list[int]:
    coder, model = RangeDecoder(content), IntegerModel()
    return [model.decode(coder) for _ in range(count)]


@given(integers)
def test_integers_come_back(values: list[int]) -> None:
    assert decoded(encoded(values), len(values)) == values


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=400))
def test_bits_come_back_whatever_their_nodes_have_seen(given_bits: list[tuple[int, bool]]) -> None:
    coder, bits = RangeEncoder(), Bits(4)
    for node, bit in given_bits:
        coder.encode(bits, node, int(bit))
    back, again = RangeDecoder(coder.finish()), Bits(4)
    assert [bool(back.decode(again, node)) for node, _ in given_bits] == [bit for _, bit in given_bits]


@given(st.lists(st.tuples(st.integers(0, 32), st.integers(0, 2**32 - 1)), max_size=100))
def test_even_bits_come_back_and_cost_what_they_are(numbers: list[tuple[int, int]]) -> None:
    coder = RangeEncoder()
    for num_bits, value in numbers:
        coder.encode_evenly(value & (1 << num_bits) - 1, num_bits=num_bits)
    content = coder.finish()
    assert len(content) <= sum(n for n, _ in numbers) / 8 + 2
    back = RangeDecoder(content)
    assert [back.decode_evenly(num_bits=n) for n, _ in numbers] == [value & (1 << n) - 1 for n, value in numbers]


@given(st.binary(max_size=60))
def test_any_bytes_decode_to_some_integers(content: bytes) -> None:
    assert all(abs(value) <= LARGEST for value in decoded(content, 100))


def test_a_carry_runs_through_all_bytes_before() -> None:
    coder, bits = RangeEncoder(), Bits(1)
    for _ in range(64):  # pushes the low end to just below a power of two, then over it
        coder.encode_evenly(0xFF, num_bits=8)
    coder.encode(bits, 0, 0)
    content = coder.finish()
    back = RangeDecoder(content)
    assert [back.decode_evenly(num_bits=8) for _ in range(64)] == [0xFF] * 64
    assert back.decode(Bits(1), 0) == 0


def test_no_byte_holds_more_integers_than_the_limit_says() -> None:
    content = encoded([0] * 300_000)
    assert 300_000 / len(content) < MAX_BITS_PER_BYTE
    assert len(content) < 200


def test_integers_of_a_narrow_spread_cost_near_their_entropy() -> None:
    values = [(i * 2654435761 >> 7) % 16 for i in range(20_000)]  # four even bits each
    assert 10_000 <= len(encoded(values)) <= 10_300
