"""Parts of a picture as `--region` names them, and their sizes in pixels; `coordinates` makes their positions."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

Region = tuple[float, float, float, float]  # left, top, right, bottom, from -1 at one edge to 1 at the other
WHOLE: Region = (-1.0, -1.0, 1.0, 1.0)


def parse_region(text: str) -> Region:
    """A part of a picture, written `left,top,right,bottom`.

    Raises:
        ValueError: If it is none, or not inside the picture.
    """
    try:
        left, top, right, bottom = map(float, text.split(","))
    except ValueError:
        raise ValueError("expected left,top,right,bottom such as -0.5,-0.5,0,0") from None
    if not (-1 <= left < right <= 1 and -1 <= top < bottom <= 1):
        raise ValueError(
            "left must be less than right, top less than bottom, and all from -1 to 1, the picture's edges"
        )
    return left, top, right, bottom


def size_of_region(region: Region, *, height: int, width: int) -> tuple[int, int]:
    """Height and width in pixels of a part of a picture, its longer side as long as the picture's."""
    left, top, right, bottom = region
    wide, high = (right - left) * width, (bottom - top) * height
    longest = max(height, width) / max(wide, high)
    return max(2, round(high * longest)), max(2, round(wide * longest))


def _check(text: str) -> str:
    parse_region(text)
    return text


RegionText = Annotated[str, AfterValidator(_check)]  # a field of a task's render options
