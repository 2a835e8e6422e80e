"""Points as vectors: scales there and back, conditions, facts; and candidates that stay inside the space."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoir_ray.search.gaussian_process.candidates import Neighbourhood, Pool, key_of, random_point
from hoir_ray.search.gaussian_process.encoding import CHOICE_WEIGHT, NEUTRAL, Encoding, Scale, scale_of
from hoir_ray.spec.space import Space
from tests.search.play import allowed, choice, number

CONDITIONAL = Space(
    (
        choice("kind", "a", "b"),
        number("width", 4, 64, step=1, is_int=True),
        number("rate", 1e-4, 1e-1, log=True),
        choice("batch", 16, 32, 64, 128),
        choice("flag", True, False),
        number("share", 0.0, 1.0),
        number("parts", 2, 9, step=1, is_int=True, when={"kind": ("a",)}),
        number("momentum", 0.5, 0.9, step=0.1, when={"kind": ("b",)}),
        choice("only", 7),
    )
)
seeds = st.integers(0, 2**32 - 1)
positive = st.floats(1e-300, 1e300)


def drawn(seed, space=CONDITIONAL):
    return random_point(space, np.random.default_rng(seed))


@given(positive, positive, st.floats(0, 1), st.booleans())
def test_a_scale_leads_there_and_back(one, other, share, log):
    if math.isclose(one, other, rel_tol=1e-6):
        return
    scale = Scale(min(one, other), max(one, other), log=log)
    value = scale.value(share)
    assert scale.low <= value <= scale.high
    assert scale.value(scale.unit(value)) == pytest.approx(value, rel=1e-9)
    assert (scale.unit(scale.low), scale.unit(scale.high)) == pytest.approx((0, 1), abs=1e-9)


@given(st.floats(-1.7e308, 1.7e308), st.floats(-1.7e308, 1.7e308), st.floats(0, 1))
def test_the_widest_ranges_do_not_overflow(one, other, share):
    if one == other:
        return
    scale = Scale(min(one, other), max(one, other), log=False)
    value = scale.value(share)
    assert scale.low <= value <= scale.high
    if abs(one / 2 - other / 2) > 1e-300:
        assert -1e-6 <= scale.unit(value) <= 1 + 1e-6


@given(seeds)
def test_whole_numbers_and_listed_ones_come_back_exactly(seed):
    point = drawn(seed)
    for dimension in CONDITIONAL.dimensions_of(point):
        if (scale := scale_of([dimension])) is not None and (dimension.is_int or dimension.path == "batch"):
            assert round(scale.value(scale.unit(point[dimension.path]))) == point[dimension.path]


@given(seeds, seeds)
def test_points_differ_as_vectors_exactly_when_they_differ(one, other):
    encoding = Encoding(CONDITIONAL)
    a, b = drawn(one), drawn(other)
    same = np.array_equal(encoding.encode(a, facts={}), encoding.encode(b, facts={}))
    assert same == (key_of(a) == key_of(b))


@given(seeds)
def test_what_does_not_apply_is_neutral_and_everything_else_is_on_its_scale(seed):
    encoding, point = Encoding(CONDITIONAL), drawn(seed)
    row = encoding.encode(point, facts={})
    assert row.shape == (encoding.num_columns,)
    assert ((row >= 0) & (row <= 1)).all()
    assert sorted(row[:2]) == [0, CHOICE_WEIGHT]
    assert row[-1 if point["kind"] == "a" else -2] == NEUTRAL  # momentum, parts


def test_cases_of_a_parameter_share_a_column():
    space = Space(
        (
            choice("kind", "a", "b"),
            number("nodes", 2, 4, step=1, is_int=True, when={"kind": ("a",)}),
            number("nodes", 8, 32, step=1, is_int=True, when={"kind": ("b",)}),
        )
    )
    encoding = Encoding(space)
    assert encoding.num_columns == 3
    ends = [encoding.encode({"kind": k, "nodes": n}, facts={})[2] for k, n in (("a", 2), ("a", 4), ("b", 8), ("b", 32))]
    assert ends == pytest.approx([0, 0.25, 0.5, 1])


def test_facts_are_columns_of_logarithms():
    space = Space((choice("kind", "a", "b"),))
    encoding = Encoding(
        space, facts=[{"num_parameters": 100.0, "seed": 3.0}, {"num_parameters": 10_000.0, "seed": 3.0}]
    )
    places = [encoding.encode({"kind": "a"}, facts={"num_parameters": n})[-1] for n in (100, 1000, 100_000)]
    assert encoding.num_columns == 3  # a fact that never changes is none
    assert places == pytest.approx([0, 0.5, 1.5])
    assert encoding.encode({"kind": "a"}, facts={})[-1] == NEUTRAL


@given(seeds)
def test_neighbours_are_points_of_the_space(seed):
    generator = np.random.default_rng(seed)
    near = Neighbourhood(CONDITIONAL)
    point = random_point(CONDITIONAL, generator)
    for _ in range(5):
        point = near.near(point, generator)
        assert set(point) == {d.path for d in CONDITIONAL.dimensions_of(point)}
        assert set(point) == {d.path for d in CONDITIONAL.dimensions if d.applies(point)}
        assert all(d.holds(point[d.path]) for d in CONDITIONAL.dimensions_of(point))


def test_neighbours_are_nearer_than_points_at_random():
    generator, encoding, near = np.random.default_rng(0), Encoding(CONDITIONAL), Neighbourhood(CONDITIONAL)
    centre = random_point(CONDITIONAL, generator)

    def distance(point):
        return float(np.linalg.norm(encoding.encode(point, facts={}) - encoding.encode(centre, facts={})))

    close = np.mean([distance(near.near(centre, generator)) for _ in range(200)])
    assert close < 0.5 * np.mean([distance(random_point(CONDITIONAL, generator)) for _ in range(200)])


def test_a_pool_is_the_same_however_it_is_asked_for():
    def even(point):
        return None if point["width"] % 2 == 0 else "odd"

    at_once, bit_by_bit = (Pool(CONDITIONAL, refuse=even, seed=5) for _ in range(2))
    for draws in (10, 300, 40):
        bit_by_bit.upto(draws)
    assert [c.key for c in at_once.upto(300)] == [c.key for c in bit_by_bit.upto(300)]
    assert all(c.point["width"] % 2 == 0 for c in at_once.upto(300))
    assert at_once.last_refusal == "odd"
    assert len({c.key for c in at_once.upto(300)}) == len(at_once.upto(300))
    assert [c.key for c in Pool(CONDITIONAL, refuse=allowed, seed=6).upto(9)] != [c.key for c in at_once.upto(9)]


def test_given_values_are_kept_where_they_fit():
    generator = np.random.default_rng(0)
    for _ in range(20):
        point = random_point(CONDITIONAL, generator, given={"kind": "a", "parts": 5, "width": 1000, "share": 0.25})
        assert (point["kind"], point["parts"], point["share"]) == ("a", 5, 0.25)
        assert 4 <= point["width"] <= 64
