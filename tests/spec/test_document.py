"""YAML read with none of its surprises."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoir_ray.errors import HoirError, SpecError
from hoir_ray.spec.document import dump_document, load_document, parse_document

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
keys = st.from_regex(r"[a-z_][a-z0-9_.]{0,10}", fullmatch=True)


def test_plain_words_are_read_as_yaml_1_2_says():
    data = parse_document("a: 1e-3\nb: no\nc: 12:30:45\nd: 081\ne: ~\nf: on\ng: 0x10\n", name="t").data
    assert data == {"a": 0.001, "b": "no", "c": "12:30:45", "d": 81, "e": None, "f": "on", "g": 16}


def test_every_key_knows_its_line():
    document = parse_document("a: 1\nb:\n  c: 2\n  d:\n    - x: 3\n    - 4\n", name="t.yaml")
    assert document.place("b", "d", "0", "x") == "t.yaml:5"
    assert document.place("b", "d", "1") == "t.yaml:6"
    assert document.place("b", "zzz") == "t.yaml:2"
    assert document.place("zzz") == "t.yaml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2", "t.yaml:2: 'a' is given twice, first on line 1"),
        ("a: !!python/object/apply:os.system [ls]", "t.yaml:1"),
        ("a: !secret x", "t.yaml:1: the tag !secret is not supported"),
        ("a: &x [1]\nb: *x", "t.yaml:1: anchors and aliases"),
        ("- 1", "must be a mapping"),
        ("", "must be a mapping"),
        ("a: \x00", "not valid YAML"),
        ("a: {b", "t.yaml:1: not valid YAML"),
        ("1: 2", "t.yaml:1: a key must be plain text"),
        ("a: " + "[" * 100 + "]" * 100, "nested deeper than 32"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: 2026-99-99", None),
    ],
)
def test_what_is_refused_names_its_place(text, expected):
    if expected is None:
        parse_document(text, name="t.yaml")
        return
    with pytest.raises(SpecError) as caught:
        parse_document(text, name="t.yaml")
    assert expected in str(caught.value)


def test_a_laughing_bomb_is_refused_at_once():
    text = "a: &a [x]\n" + "".join(f"{b}: &{b} [*{a},*{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    with pytest.raises(SpecError, match="anchors"):
        parse_document(text, name="t")


@given(st.dictionaries(keys, st.one_of(scalars, st.lists(scalars, max_size=3))))
def test_what_is_written_is_read_back(data):
    clean = {k: v for k, v in data.items() if not (isinstance(v, str) and ("\x85" in v or not v.isprintable()))}
    clean = {k: v for k, v in clean.items() if not isinstance(v, list) or all(not isinstance(x, str) for x in v)}
    assert parse_document(dump_document(clean), name="t").data == clean if clean else True


@given(st.text(alphabet="ab:-[]{}&*!'\"\n ,#|>%@`0.e+", max_size=60))
def test_whatever_the_text_only_our_error_comes_out(text):
    with contextlib.suppress(HoirError):
        parse_document(text, name="t")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        load_document(tmp_path / "missing.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(SpecError, match="UTF-8"):
        load_document(binary)
    large = tmp_path / "large.yaml"
    large.write_text("a: " + "x" * 1_100_000)
    with pytest.raises(SpecError, match="at most"):
        load_document(large)
