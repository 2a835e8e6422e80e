"""Pictures in: any file Pillow reads becomes RGB bytes, within limits that are checked before decoding."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import skimage
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from hoir_ray.config import nearest
from hoir_ray.errors import DataError
from hoir_ray.machine.files import open_regular
from hoir_ray.pictures.depth import WIDE_MODES, narrow
from hoir_ray.pictures.png import without_notes

MAX_PIXELS = 100_000_000


SAMPLE_PREFIX = "sample:"


# Photographs that lie inside scikit-image's wheel, so that reading them needs no network.
SAMPLES = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "hubble_deep_field": "hubble_deep_field.jpg",
    "ihc": "ihc.png",
    "moon": "moon.png",
    "motorcycle": "motorcycle_left.png",
    "page": "page.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
}


_log = logging.getLogger(__name__)


_TURNED = {  # Source: Exif 2.32, tag 0x0112
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_picture(source: str | Path, *, max_side: int | None = None) -> UInt8[Tensor, "height width 3"]:
    """The picture as RGB bytes: upright, on white where transparent, the first frame of an animation.

    Args:
        source: A file, or `sample:<name>` for one of scikit-image's photographs, such as `sample:astronaut`.
        max_side: Longest side in pixels; a larger picture is shrunk to it, a smaller one stays as it is.

    Raises:
        DataError: If the file is missing, is no picture, is cut off, or has more than 100 million pixels.
    """
    path = picture_path(source)
    try:
        with open_regular(path) as file:
            return _decode(file, name=str(source), max_side=max_side)
    except OSError as error:
        raise DataError(f"{source}: {_why_unreadable(path, error)}") from error


def decode_picture(encoded: bytes, *, name: str, max_side: int | None = None) -> UInt8[Tensor, "height width 3"]:
    """Decode the bytes of a picture file as `load_picture` does; `name` stands for it in errors."""
    if not encoded:
        raise DataError(f"{name}: empty, expected the bytes of a picture")
    return _decode(io.BytesIO(encoded), name=name, max_side=max_side)


def picture_size(source: str | Path) -> tuple[int, int]:
    """Read width and height from a picture's header, as they are before EXIF turns it.

    Raises:
        DataError: If there is no such file, or it is no picture.
    """
    try:
        with warnings.catch_warnings(), open_regular(picture_path(source)) as file:
            warnings.simplefilter("ignore")
            with Image.open(file) as picture:
                return picture.size
    except DataError:
        raise
    except Exception as error:  # as in `_read`
        raise DataError(f"{source}: no size can be read from it: {error}") from error


def load_square(source: str | Path, *, side: int) -> UInt8[Tensor, "{side} {side} 3"]:
    """The middle of the picture, its shorter side scaled to `side` pixels; errors as in `load_picture`."""
    picture = Image.fromarray(load_picture(source).numpy())
    return torch.from_numpy(np.array(ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS)))


def picture_path(source: str | Path) -> Path:
    """The file that a path or `sample:<name>` stands for.

    Raises:
        DataError: If there is no sample of that name.
    """
    text = str(source)
    if not text.startswith(SAMPLE_PREFIX):
        return Path(text).expanduser()
    name = text.removeprefix(SAMPLE_PREFIX)
    if name not in SAMPLES:
        raise DataError(f"{text}: no such sample.{nearest(name, SAMPLES)} Samples: {', '.join(SAMPLES)}")
    return Path(skimage.__file__).parent / "data" / SAMPLES[name]


def _why_unreadable(path: Path, error: OSError) -> str:
    if path.is_dir():
        return "is a folder, expected a picture file"
    if isinstance(error, FileNotFoundError):
        return f"no such file (looked in {Path.cwd()}); samples are written sample:astronaut"
    return f"cannot be read: {error.strerror or error}"


def _decode(file: BinaryIO, *, name: str, max_side: int | None) -> Tensor:
    try:
        rgb = _read(file, name=name)
    except DataError:
        bare = without_notes(file)
        if bare is None:
            raise
        rgb = _read(bare, name=name)
    if max_side is not None and max(rgb.size) > max_side:
        rgb = rgb.resize(_fit(rgb.size, max_side=max_side), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(rgb))


def _read(file: BinaryIO, *, name: str) -> Image.Image:
    # Pillow's own size warning starts at 89 million pixels; MAX_PIXELS decides here, so its warnings are not needed.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            file.seek(0)
            with Image.open(file) as picture:
                _check_size(picture.size, name=name)
                kind, tags = picture.format, _tags(picture)
                return _to_rgb(_upright(picture), tags=tags, kind=kind, name=name)
        except DataError:
            raise
        except UnidentifiedImageError as error:
            empty = file.seek(0, os.SEEK_END) == 0
            raise DataError(f"{name}: {'is empty' if empty else 'is no picture that Pillow can read'}") from error
        except Image.DecompressionBombError as error:
            raise DataError(f"{name}: must have at most {MAX_PIXELS:,} pixels: {error}") from error
        except Exception as error:  # the decoders of some forty formats raise whatever a broken file leads them to
            raise DataError(f"{name}: the picture is broken or cut off: {error}") from error


def _tags(picture: Image.Image) -> dict[int, int]:
    """The first whole number of each tag of a TIFF file; nothing for other files."""
    values = {
        tag: value[0] if isinstance(value, tuple) else value for tag, value in getattr(picture, "tag_v2", {}).items()
    }
    return {tag: value for tag, value in values.items() if isinstance(value, int)} if picture.format == "TIFF" else {}


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF says; an EXIF that cannot be read says nothing, and costs no picture."""
    picture.load()
    turn = None
    with contextlib.suppress(Exception):
        turn = _TURNED.get(picture.getexif().get(0x0112, 1))
    return picture if turn is None else picture.transpose(turn)


def _check_size(size: tuple[int, int], *, name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{name}: must have at most {MAX_PIXELS:,} pixels, got {width} x {height}; shrink the file first"
        )


def _fit(size: tuple[int, int], *, max_side: int) -> tuple[int, int]:
    scale = max_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _to_rgb(picture: Image.Image, *, tags: dict[int, int], kind: str | None, name: str) -> Image.Image:
    if picture.mode in WIDE_MODES:
        return narrow(picture, tags=tags, kind=kind, name=name)
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")


def file_stamps(paths: Sequence[str | Path]) -> tuple[tuple[int, int], ...]:
    """Time of change and size of each file, (0, 0) where there is none; while they stay, what was read holds."""
    stamps = []
    for path in paths:
        try:
            stat = Path(path).expanduser().stat()
        except OSError:
            stamps.append((0, 0))
        else:
            stamps.append((stat.st_mtime_ns, stat.st_size))
    return tuple(stamps)


def check_unusable(problems: Sequence[str], *, num_pictures: int, where: str) -> None:
    """Pass over a few unusable pictures with a warning that names them; stop at more than a tenth.

    Raises:
        DataError: If more than a tenth of `num_pictures`, or all of them, are unusable.
    """
    if not problems:
        return
    named = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
    finding = f"{where}: {len(problems)} of {num_pictures} pictures cannot be used"
    if len(problems) * 10 > num_pictures:
        raise DataError(f"{finding}, more than a tenth: {named}")
    _log.warning("%s and are left out: %s", finding, named)
