"""Greys of more than 8 bits: white is what the file's depth makes it, and an unknown white is refused by name."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hoir_ray.errors import DataError
from hoir_ray.pictures.load import load_picture


def tiff(path: Path, samples: bytes, *, side: int, bits: int, photometric: int = 1, sample_format: int = 1) -> Path:
    """An uncompressed little-endian TIFF. Source: TIFF 6.0."""
    entries = [
        (256, 4, side),
        (257, 4, side),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, side),
        (279, 4, len(samples)),
        (339, 3, sample_format),
    ]
    samples += bytes(len(samples) % 2)
    directory = b"".join(struct.pack("<HHIHxx" if kind == 3 else "<HHII", tag, kind, 1, v) for tag, kind, v in entries)
    head = b"II*\0" + struct.pack("<I", 8 + len(samples))
    path.write_bytes(head + samples + struct.pack("<H", len(entries)) + directory + bytes(4))
    return path


def greys(path: Path) -> list[int]:
    return load_picture(path)[..., 0].flatten().tolist()


def test_twelve_bits_are_scaled_from_twelve(tmp_path: Path) -> None:
    packed = bytes([0xFF, 0xF0, 0x00, 0x80, 0x0F, 0xFF])  # 4095, 0; 2048, 4095: two samples to three bytes
    assert greys(tiff(tmp_path / "a.tif", packed, side=2, bits=12)) == [255, 0, 128, 255]


def test_sixteen_bits_of_either_sense(tmp_path: Path) -> None:
    samples = np.array([0, 65_535, 32_768, 257], "<u2").tobytes()
    assert greys(tiff(tmp_path / "a.tif", samples, side=2, bits=16)) == [0, 255, 128, 1]
    assert greys(tiff(tmp_path / "b.tif", samples, side=2, bits=16, photometric=0)) == [255, 0, 127, 254]


@pytest.mark.parametrize(
    ("bits", "sample_format", "said"), [(32, 1, "32-bit"), (32, 2, "signed 32-bit"), (16, 2, "signed 16-bit")]
)
def test_depths_that_do_not_tell_white_are_refused_by_name(
    tmp_path: Path, bits: int, sample_format: int, said: str
) -> None:
    samples = np.array([0, 255, 100, 7], "<i4" if bits == 32 else "<i2").tobytes()
    file = tiff(tmp_path / "scan.tif", samples, side=2, bits=bits, sample_format=sample_format)
    with pytest.raises(DataError, match=rf"scan\.tif: {said} greys do not tell what white is; save the picture with 8"):
        load_picture(file)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2"])
def test_sixteen_bits_of_each_kind_of_file(tmp_path: Path, name: str) -> None:
    Image.fromarray(np.array([[0, 65_535], [32_768, 257]], np.uint16)).save(tmp_path / name)
    assert greys(tmp_path / name) == [0, 255, 128, 1]


def test_a_pgm_has_the_depth_that_it_says(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 2 2 4095\n" + np.array([0, 4095, 2048, 16], ">u2").tobytes())
    assert greys(tmp_path / "a.pgm") == [0, 255, 128, 1]
