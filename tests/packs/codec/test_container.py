from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoir_ray.errors import PackError
from hoir_ray.packs.codec.container import CHECKSUM_BYTES, join, split


def signed(content: bytes) -> bytes:
    """With the checksum that somebody who wants to be read would give it."""
    return content + zlib.crc32(content).to_bytes(CHECKSUM_BYTES, "big")


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_header_and_body_come_back(header: bytes, body: bytes) -> None:
    assert split(join(header, body), name="x.hoir") == (header, body)


@given(st.binary(max_size=40), st.binary(max_size=40), st.data())
def test_a_flipped_bit_anywhere_is_an_error(header: bytes, body: bytes, data: st.DataObject) -> None:
    content = bytearray(join(header, body))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(PackError, match=r"^x\.hoir: "):
        split(bytes(content), name="x.hoir")


@given(st.binary(max_size=40), st.data())
def test_a_file_that_is_cut_is_an_error(body: bytes, data: st.DataObject) -> None:
    content = join(b"header", body)
    with pytest.raises(PackError):
        split(content[: data.draw(st.integers(0, len(content) - 1))], name="x.hoir")


@given(st.binary(max_size=40), st.binary(min_size=1, max_size=40))
def test_a_file_that_is_extended_is_an_error(body: bytes, more: bytes) -> None:
    with pytest.raises(PackError):
        split(join(b"header", body) + more, name="x.hoir")


@given(st.binary(max_size=60))
def test_any_other_bytes_are_an_error(content: bytes) -> None:
    with pytest.raises(PackError):
        split(content, name="x.hoir")


def test_a_newer_format_is_refused_by_its_number() -> None:
    newer = bytearray(join(b"header", b"body")[:-CHECKSUM_BYTES])
    newer[4] = 2
    with pytest.raises(PackError, match=r"x\.hoir: format 2, and hoir_ray .* reads 1; a newer one is read by a newer"):
        split(signed(bytes(newer)), name="x.hoir")


@pytest.mark.parametrize("length", [b"\x7f", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff\x01", b"\xff"])
def test_a_header_that_is_longer_than_the_file_is_an_error(length: bytes) -> None:
    with pytest.raises(PackError, match="header"):
        split(signed(b"HOIR\x01" + length + b"body"), name="x.hoir")


def test_what_is_no_such_file_is_named() -> None:
    with pytest.raises(PackError, match=r"x\.png: is not a \.hoir file; it must begin with HOIR, got b'\\x89PNG'"):
        split(b"\x89PNG\r\n\x1a\n", name="x.png")
