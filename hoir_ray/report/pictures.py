"""The pictures of a report: scaled, each stored once, the best trials' first, within a budget of bytes."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from PIL import Image

from hoir_ray.errors import HoirError
from hoir_ray.results.record import TrialRecord
from hoir_ray.storage import Storage
from hoir_ray.tasks import load_task
from hoir_ray.tasks.contract import PANEL_GAP

GALLERY_SIZE = 12
GALLERY_SIDE = 640
HOVER_SIDE = 240
MAX_BYTES = 5_500_000
MAX_PIXELS = 50_000_000  # of a picture, whose pixels take three bytes each while it is scaled
AT_A_TIME = 4
_LEAST_BYTES = 200  # of a picture; where there is no room for that, no further one is read


@dataclass(frozen=True)
class Album:
    """Pictures as data URIs under the hash of their content.

    Attributes:
        shown: Trial -> name of a picture (one of its task's panels, or `picture` where it has none) ->
            hash.
        missing: Trials whose picture is not in storage or cannot be read.
        left_out: Trials whose picture would have made the file too large.
    """

    files: dict[str, str] = field(default_factory=dict)
    shown: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def collect(storage: Storage, records: Sequence[TrialRecord], *, task: str) -> Album:
    """Collect the pictures that `records` left, those of the first ones large enough to compare by eye.

    A picture is scaled as soon as it is read, and few are read at a time, so memory does not grow with the trials.
    """
    album, used = Album(), 0
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for start in range(0, len(records), AT_A_TIME):
            batch = records[start : start + AT_A_TIME]
            if used > MAX_BYTES - _LEAST_BYTES:
                album.left_out.extend(r.trial for r in batch)
                continue
            sides = [GALLERY_SIDE if start + i < GALLERY_SIZE else HOVER_SIDE for i in range(len(batch))]
            for record, encoded in zip(batch, pool.map(partial(_read, storage, task=task), batch, sides), strict=True):
                if encoded is None:
                    album.missing.append(record.trial)
                    continue
                new = sum(len(data) for key, data in encoded.values() if key not in album.files)
                if used + new > MAX_BYTES:
                    album.left_out.append(record.trial)
                    continue
                used += new
                album.files.update(encoded.values())
                album.shown[record.trial] = {name: key for name, (key, _) in encoded.items()}
    return album


def _read(storage: Storage, record: TrialRecord, side: int, *, task: str) -> dict[str, tuple[str, str]] | None:
    """A trial's picture, or its parts, scaled to `side` and encoded; None where there is none that can be read."""
    try:
        with Image.open(io.BytesIO(storage.get(record.picture_key))) as file:
            if file.width * file.height > MAX_PIXELS:
                return None
            picture = file.convert("RGB")
    except (HoirError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow raises all of these
        return None
    panels = _panels(picture, task=task)
    if side < GALLERY_SIDE:
        panels = {name: p for name, p in panels.items() if name in ("fit", "picture")}
    return {name: _encode(p, side=side) for name, p in panels.items()}


def _panels(picture: Image.Image, *, task: str) -> dict[str, Image.Image]:
    """The parts of a comparison by their names; the picture as it is where the task's has none."""
    names = load_task(task).panels
    width, rest = divmod(picture.width - (len(names) - 1) * PANEL_GAP, max(1, len(names)))
    if not names or rest or width < 2:
        return {"picture": picture}
    lefts = (i * (width + PANEL_GAP) for i in range(len(names)))
    return {n: picture.crop((x, 0, x + width, picture.height)) for n, x in zip(names, lefts, strict=True)}


def _encode(picture: Image.Image, *, side: int) -> tuple[str, str]:
    """Hash and data URI; WebP, without loss where the picture is small enough for that to cost little."""
    if max(picture.size) > side:
        picture = picture.copy()
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small = picture.width * picture.height <= 128 * 128
    picture.save(buffer, "WEBP", lossless=small, quality=75 if small else 88, method=4)
    content = buffer.getvalue()
    return hashlib.sha256(content).hexdigest()[:16], "data:image/webp;base64," + base64.b64encode(content).decode()
