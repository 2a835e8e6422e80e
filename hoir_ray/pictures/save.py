"""Pictures out: still pictures, animations and contact sheets, each file written whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from hoir_ray.errors import RequestError, StorageError
from hoir_ray.machine.files import replacing_path

_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


_ANIMATION_SUFFIXES = (".gif", ".webp", ".png")


def contact_sheet(
    frames: Float[Tensor, "frames height width 3"], *, num_columns: int | None = None, gap: int = 2
) -> Float[Tensor, "rows columns 3"]:
    """The frames in reading order on one white sheet, as near to a square as they go.

    Args:
        num_columns: Frames per row; None picks the number that makes the sheet closest to square.
        gap: White pixels between neighbours.
    """
    num_frames, height, width, _ = frames.shape
    if num_columns is None:
        num_columns = math.ceil(math.sqrt(num_frames * (height + gap) / (width + gap)))
    num_columns = max(1, min(num_columns, num_frames))
    num_rows = math.ceil(num_frames / num_columns)
    sheet = frames.new_ones(num_rows * (height + gap) - gap, num_columns * (width + gap) - gap, 3)
    for i, frame in enumerate(frames):
        top, left = i // num_columns * (height + gap), i % num_columns * (width + gap)
        sheet[top : top + height, left : left + width] = frame
    return sheet


def save_picture(frame: Float[Tensor, "height width 3"], path: str | Path) -> None:
    """Write one frame, values in [0, 1], as PNG, JPEG or WebP by the path's suffix; whole or not at all.

    Raises:
        RequestError: If the suffix is none of these.
        StorageError: If the file cannot be written.
    """
    path = _checked_suffix(path, known=_PICTURE_SUFFIXES)
    picture = to_pil(frame)
    _write_whole(path, lambda part: picture.save(part, quality=95))


def save_animation(
    frames: Float[Tensor, "frames height width 3"], path: str | Path, *, frames_per_second: float = 10.0
) -> None:
    """Write the frames as an endless GIF, WebP or animated PNG by the path's suffix; whole or not at all.

    Raises:
        RequestError: If the suffix is none of these.
        StorageError: If the file cannot be written.
    """
    path = _checked_suffix(path, known=_ANIMATION_SUFFIXES)
    first, *rest = [to_pil(frame) for frame in frames]
    duration_ms = max(1, round(1000 / frames_per_second))
    _write_whole(
        path, lambda part: first.save(part, save_all=True, append_images=rest, duration=duration_ms, loop=0, quality=90)
    )


def save_frames(frames: Float[Tensor, "frames height width 3"], path: str | Path) -> None:
    """Write frames in the way the path asks for: one as a picture, several as an animated GIF or a contact sheet."""
    if Path(path).suffix.lower() == ".gif":
        save_animation(frames, path)
    else:
        save_picture(frames[0] if len(frames) == 1 else contact_sheet(frames), path)


def check_suffix(path: Path) -> None:
    """Refuse a file whose name ends as no picture's does, before it is drawn.

    Raises:
        RequestError: Naming the endings that are known.
    """
    _checked_suffix(path, known=tuple(dict.fromkeys((*_PICTURE_SUFFIXES, *_ANIMATION_SUFFIXES))))


def to_pil(frame: Float[Tensor, "height width 3"]) -> Image.Image:
    """The frame, values in [0, 1], as a picture of bytes."""
    pixels = torch.nan_to_num(frame.detach().float().cpu()).clamp(0, 1)
    return Image.fromarray((pixels * 255).round().to(torch.uint8).numpy())


def _checked_suffix(path: str | Path, *, known: tuple[str, ...]) -> Path:
    path = Path(path).expanduser()
    if path.suffix.lower() not in known:
        raise RequestError(f"{path}: must end in one of {', '.join(known)}, got '{path.suffix}'")
    return path


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    try:
        with replacing_path(path) as part:
            write(part)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error
