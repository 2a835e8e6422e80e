"""Other codecs to compare with: a picture as JPEG, WebP, AVIF or JPEG 2000 of a given size, encoded by Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, features
from torch import Tensor

from hoir_ray.pictures.quality import psnr_db

Encode = Callable[[Image.Image, int], list[bytes]]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A picture as a file of some codec."""

    content: bytes
    psnr_db: float


def _saved(picture: Image.Image, format_name: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=format_name, **options)
    return file.getvalue()


def _jpeg(picture: Image.Image, quality: int) -> list[bytes]:
    """Both samplings of the colours: which is better depends on the rate."""
    common = {"quality": quality, "optimize": True, "progressive": True}
    return [_saved(picture, "JPEG", subsampling=sampling, **common) for sampling in ("4:4:4", "4:2:0")]


def _webp(picture: Image.Image, quality: int) -> list[bytes]:
    return [_saved(picture, "WEBP", quality=quality, method=6)]


def _avif(picture: Image.Image, quality: int) -> list[bytes]:
    return [_saved(picture, "AVIF", quality=quality, speed=6)]


def _jpeg2000(picture: Image.Image, quality: int) -> list[bytes]:
    """The quality is read as a rate, thirty steps to a factor of ten: at 100 a quarter of the picture's bytes.

    Colours are taken as brightness and two differences (mct), which Pillow leaves out unless told: 1.8 dB.
    """
    options = {"quality_mode": "rates", "quality_layers": [4 * 10 ** ((100 - quality) / 30)], "mct": 1}
    return [_saved(picture, "JPEG2000", irreversible=True, **options)]


_ENCODERS: dict[str, tuple[str, Encode]] = {
    "JPEG": ("jpg", _jpeg),
    "WebP": ("webp", _webp),
    "AVIF": ("avif", _avif),
    "JPEG 2000": ("jpg_2000", _jpeg2000),
}


def codec_names() -> list[str]:
    """The codecs that this machine's Pillow was built with."""
    return [name for name, (feature, _) in _ENCODERS.items() if features.check(feature)]


def encode_within(picture: UInt8[Tensor, "height width 3"], *, codec: str, max_bytes: int) -> Encoded | None:
    """The picture at the highest quality that stays within `max_bytes`; None where even the lowest does not."""
    _, encode = _ENCODERS[codec]
    image = Image.fromarray(picture.numpy())
    low, high, best = 0, 100, None
    while low <= high:
        quality = (low + high) // 2
        fitting = [content for content in encode(image, quality) if len(content) <= max_bytes]
        if fitting:
            best = max([*_rated(fitting, picture), *([best] if best else [])], key=lambda e: e.psnr_db)
            low = quality + 1
        else:
            high = quality - 1
    return best


def _rated(contents: list[bytes], picture: Tensor) -> Iterator[Encoded]:
    for content in contents:
        with Image.open(io.BytesIO(content)) as decoded:
            shown = torch.from_numpy(np.array(decoded.convert("RGB")))
        yield Encoded(content=content, psnr_db=psnr_db(shown.float() / 255, picture.float() / 255))
