from __future__ import annotations

import io

import pytest
from PIL import Image

from hoir_ray.pictures.codecs import codec_names, encode_within
from hoir_ray.pictures.load import load_picture


@pytest.mark.parametrize("codec", codec_names())
def test_the_best_file_within_a_size_is_one_of_that_codec(codec: str) -> None:
    picture = load_picture("sample:astronaut", max_side=96)
    small, large = (encode_within(picture, codec=codec, max_bytes=limit) for limit in (1500, 4000))
    assert small is not None
    assert large is not None
    assert 500 < len(small.content) <= 1500 < len(large.content) <= 4000
    assert 20 < small.psnr_db < large.psnr_db
    with Image.open(io.BytesIO(large.content)) as image:
        assert image.size == (96, 96)
        assert image.format == codec.replace(" ", "").upper()


@pytest.mark.parametrize("codec", codec_names())
def test_a_size_that_no_quality_reaches_has_no_file(codec: str) -> None:
    assert encode_within(load_picture("sample:astronaut", max_side=96), codec=codec, max_bytes=50) is None


def test_there_are_several_codecs() -> None:
    assert {"JPEG", "WebP"} <= set(codec_names())
