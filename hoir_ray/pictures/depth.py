"""Greys of more than 8 bits as 8 bits: white is what the file's own depth says it is, or the picture is refused."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hoir_ray.errors import DataError

WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_SCALED_BY_PILLOW = ("PNG", "PPM", "JPEG2000")  # to 16 bits, whatever depth the file has
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # Source: TIFF 6.0
_SIGNED, _WHITE_IS_ZERO = 2, 0


def narrow(picture: Image.Image, *, tags: dict[int, int], kind: str | None, name: str) -> Image.Image:
    """RGB of a picture in one of `WIDE_MODES`, scaled from its full range; Pillow's own conversion clips at 255.

    Args:
        tags: First value of each tag of a TIFF file.
        kind: The file's format, as Pillow calls it; None for a picture of no file.

    Raises:
        DataError: If its depth does not tell what white is, or it has pixels beyond that.
    """
    white, depth = _white(picture.mode, tags=tags, kind=kind, name=name)
    pixels = np.asarray(picture, dtype=np.float64)
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= white):
        raise DataError(f"{name}: {depth} pixels must lie in [0, {white:g}], got [{low:g}, {high:g}]")
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        pixels = white - pixels
    return Image.fromarray((pixels * (255 / white)).round().astype(np.uint8)).convert("RGB")


def _white(mode: str, *, tags: dict[int, int], kind: str | None, name: str) -> tuple[float, str]:
    if mode == "F":
        return 1.0, "float"
    bits = tags.get(_BITS, 16)
    if bits <= 16 and tags.get(_SAMPLE_FORMAT) != _SIGNED and (tags or kind in (*_SCALED_BY_PILLOW, None)):
        return float(2**bits - 1), f"{bits}-bit"
    sign = "signed " if tags.get(_SAMPLE_FORMAT) == _SIGNED else ""
    depth = f"{sign}{bits}-bit greys" if tags else f"greys of a {kind} file with more than 8 bits"
    raise DataError(f"{name}: {depth} do not tell what white is; save the picture with 8 or 16 bits, unsigned")
