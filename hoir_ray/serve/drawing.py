"""Tiles of the pictures that networks represent, drawn when they are looked at."""

from __future__ import annotations

import copy
import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from hoir_ray.errors import RequestError
from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.packs.pack import Pack, load_pack
from hoir_ray.packs.render import read_options
from hoir_ray.pictures.save import to_image
from hoir_ray.results.sweep_results import SweepResults

TILE = 256  # pixels of a tile's longer side
MAX_DEPTH = 40  # where a pixel is a trillionth of the picture, which 64 bits still tell apart
FLOAT_DEPTH = 10  # beyond it positions want 64 bits
MAX_PACKS = 200
_DRAWING = threading.Semaphore(2)


@dataclass(frozen=True)
class Drawn:
    """A pack that is kept loaded, and the pictures that it draws: height and width in pixels, by caption."""

    pack: Pack
    views: Mapping[str, tuple[int, int]]

    @cached_property
    def precise(self) -> Pack:
        """The same in 64 bits."""
        return replace(self.pack, network=copy.deepcopy(self.pack.network).double())

    def tile_size(self, caption: str) -> tuple[int, int]:
        """Height and width of a tile, in pixels; its shape is the picture's."""
        height, width = self.views.get(caption, (TILE, TILE))
        longest = max(height, width)
        return max(2, round(TILE * height / longest)), max(2, round(TILE * width / longest))

    def tile(self, depth: int, column: int, row: int, *, caption: str = "") -> bytes:
        """PNG of one of the `4 ** depth` tiles of a picture.

        Raises:
            RequestError: If there is no such tile, or the task takes no caption or does not know it.
        """
        if not (0 <= depth <= MAX_DEPTH and 0 <= column < 2**depth and 0 <= row < 2**depth):
            raise RequestError(
                f"no tile {column}, {row} at depth {depth}: depths are 0 to {MAX_DEPTH}, with 2^depth tiles a side"
            )
        height, width = self.tile_size(caption)
        region = ",".join(map(repr, region_of(depth, column, row)))
        given = {"size": f"{width}x{height}", "region": region, **({"caption": caption} if caption else {})}
        options = read_options(given, self.pack.task)
        pack = self.pack if depth <= FLOAT_DEPTH else self.precise
        with _DRAWING, torch.inference_mode():
            frames = pack.task.render(pack.network, pack.config, pack.facts, options)
        return _png(frames[0])


def region_of(depth: int, column: int, row: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a tile, as `--region` takes them."""
    side = 2.0 / 2**depth
    return -1 + column * side, -1 + row * side, -1 + (column + 1) * side, -1 + (row + 1) * side


class Drawings:
    """Loaded packs, the last used of them. May be asked by several threads."""

    def __init__(self, *, max_packs: int = MAX_PACKS) -> None:
        self._max_packs = max_packs
        self._packs: OrderedDict[str, Drawn] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, sweep: SweepResults, trial: str) -> Drawn:
        """The pack of a trial.

        Raises:
            RequestError: If the trial left none, or its task draws no single picture.
            PackError, StorageError: If it cannot be read.
        """
        record = sweep.trial(trial)
        if record.model is None:
            raise RequestError(f"trial '{trial}' left no model")
        key = f"{sweep.storage.uri}/{record.model}"
        with self._lock:  # a pack is loaded once, and one at a time
            if key not in self._packs:
                with temporary_folder("serve") as folder:
                    sweep.storage.get_folder(record.model, folder)
                    self._packs[key] = _drawn(load_pack(folder))
                while len(self._packs) > self._max_packs:
                    self._packs.popitem(last=False)
            self._packs.move_to_end(key)
            return self._packs[key]


def _drawn(pack: Pack) -> Drawn:
    if pack.task.views is None:
        raise RequestError(f"task '{pack.task.name}' draws no picture of which parts could be drawn")
    return Drawn(pack, pack.task.views(pack.facts))


def _png(frame: Tensor) -> bytes:
    written = io.BytesIO()
    to_image(frame).save(written, "PNG", compress_level=1)
    return written.getvalue()
