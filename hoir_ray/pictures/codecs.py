"""Other codecs to compare with: a picture as JPEG, WebP, AVIF or JPEG 2000 of a given size, encoded by Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, features
from torch import Tensor

from hoir_ray.pictures.quality import psnr_db

Encode = Callable[[Image.Image, int], list[bytes]]
QUALITIES = (0, 2, 4, 7, 11, 16, 22, 28, 34, 40, 46, 52, 59, 66, 74, 82, 92)  # closer together where files are small


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


def all_codecs() -> list[str]:
    """The codecs that are known here, whether or not this machine's Pillow has them."""
    return list(_ENCODERS)


def codec_names() -> list[str]:
    """The codecs that this machine's Pillow was built with."""
    return [name for name, (feature, _) in _ENCODERS.items() if features.check(feature)]


class CodecFiles:
    """Files of one picture by one codec, each of them encoded and measured once."""

    def __init__(self, picture: UInt8[Tensor, "height width 3"], *, codec: str) -> None:
        self._image, (_, self._encode) = Image.fromarray(picture.numpy()), _ENCODERS[codec]
        self._true = picture.float() / 255
        self._files: dict[int, list[bytes]] = {}
        self._measured: dict[bytes, Encoded] = {}

    def curve(self, *, max_bytes: int, min_psnr_db: float, also: Iterable[Encoded] = ()) -> list[Encoded]:
        """Files of rising quality, until one is larger than `max_bytes` and better than `min_psnr_db`, it included.

        Those that a smaller one is as good as are left out.

        Args:
            also: Further files of the picture.
        """
        found = list(also)
        for quality in QUALITIES:
            best = max(map(self._measure, self._of(quality)), key=lambda e: e.psnr_db)
            found.append(best)
            if len(best.content) > max_bytes and best.psnr_db > min_psnr_db:
                break
        found.sort(key=lambda e: (len(e.content), -e.psnr_db))
        return [e for number, e in enumerate(found) if all(e.psnr_db > other.psnr_db for other in found[:number])]

    def within(self, max_bytes: int) -> Encoded | None:
        """The file of the highest quality that has at most `max_bytes`; None where even the lowest has more."""
        low, high, best = 0, 100, None
        while low <= high:
            quality = (low + high) // 2
            fitting = [content for content in self._of(quality) if len(content) <= max_bytes]
            if fitting:
                best = max([*map(self._measure, fitting), *([best] if best else [])], key=lambda e: e.psnr_db)
                low = quality + 1
            else:
                high = quality - 1
        return best

    def _of(self, quality: int) -> list[bytes]:
        if quality not in self._files:
            self._files[quality] = self._encode(self._image, quality)
        return self._files[quality]

    def _measure(self, content: bytes) -> Encoded:
        if content not in self._measured:
            quality = psnr_db(decoded(content).float() / 255, self._true)
            self._measured[content] = Encoded(content=content, psnr_db=quality)
        return self._measured[content]


def encode_within(picture: UInt8[Tensor, "height width 3"], *, codec: str, max_bytes: int) -> Encoded | None:
    """The picture at the highest quality that stays within `max_bytes`; None where even the lowest does not."""
    return CodecFiles(picture, codec=codec).within(max_bytes)


def decoded(content: bytes) -> UInt8[Tensor, "height width 3"]:
    """The picture in a file that one of the codecs has written."""
    with Image.open(io.BytesIO(content)) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB")))
