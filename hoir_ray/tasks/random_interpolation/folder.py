"""A folder's pictures as squares: all in memory, or streamed through a cache that holds a part of them."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from hoir_ray.errors import DataError
from hoir_ray.pictures.folder import FolderPictures, find_pictures_below
from hoir_ray.pictures.load import SAMPLE_PREFIX, SAMPLES, check_unusable, file_stamps, load_square
from hoir_ray.tasks.random_interpolation.config import SAMPLE_PHOTOS

NUM_THREADS = min(8, os.cpu_count() or 1)
READ_AHEAD = 8 * NUM_THREADS


def find_pictures(folder: str) -> FolderPictures:
    """List the pictures in the folder and below it, sorted, and count what is beside them.

    Raises:
        DataError: If there is no such folder, or no picture in it.
    """
    if folder == SAMPLE_PHOTOS:
        return FolderPictures(tuple(f"{SAMPLE_PREFIX}{name}" for name in SAMPLES), {})
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise DataError(
            f"{folder}: {'is a file, expected a folder' if path.exists() else 'no such folder'} of pictures"
        )
    found = find_pictures_below(path)
    if not found.paths:
        raise DataError(found.describe(folder))
    return found


def read_all(paths: Sequence[str], *, side: int, where: str) -> UInt8[Tensor, "pictures bytes"]:
    """Read all pictures as squares, but for unreadable ones; the last two readings are kept for later trials.

    Raises:
        DataError: If more than a tenth cannot be read.
    """
    return _read_all(tuple(paths), file_stamps(paths), side, where)


@functools.lru_cache(maxsize=2)
def _read_all(paths: tuple[str, ...], stamps: tuple[tuple[int, int], ...], side: int, where: str) -> Tensor:
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        read = list(threads.map(lambda path: _try_to_read(path, side=side), paths))
    problems = [str(result) for result in read if isinstance(result, DataError)]
    check_unusable(problems, num_pictures=len(paths), where=where)
    return torch.stack([result.flatten() for result in read if not isinstance(result, DataError)])


def _try_to_read(path: str, *, side: int) -> Tensor | DataError:
    try:
        return load_square(path, side=side)
    except DataError as error:
        return error


class PictureStream:
    """A window over an endless sequence of the pictures, each epoch's in another order.

    When `position` pictures have passed, slot s of the table holds the one at the place in
    `[position, position + slots)` that is s modulo the number of slots. That depends on nothing but the position, so a
    resumed epoch sees what the interrupted one saw. Pictures are read ahead by threads.
    """

    def __init__(self, paths: Sequence[str], *, side: int, num_slots: int, seed: int, where: str) -> None:
        self.paths, self.side, self.num_slots, self.seed, self.where = paths, side, num_slots, seed, where
        self.table = torch.zeros(num_slots, side * side * 3, dtype=torch.uint8)
        self._problems: dict[str, str] = {}
        self._loaded = 0
        self._ahead: deque[Future[Tensor | DataError]] = deque()
        self._threads: ThreadPoolExecutor | None = None
        self._order: tuple[int, list[int]] = (-1, [])

    def move_to(self, position: int, table: UInt8[Tensor, "slots bytes"]) -> None:
        """Fill `table`, on whatever device, with the window that begins at `position`; never backwards but to rewind.

        Raises:
            DataError: If by now more than a tenth of all pictures could not be read.
        """
        if position > self._loaded or position + self.num_slots < self._loaded:
            self._ahead.clear()
            self._loaded = position
        goal = position + self.num_slots
        while self._loaded < goal:
            self._request(min(self._loaded + READ_AHEAD, max(goal, self._loaded + NUM_THREADS)))
            table[self._loaded % self.num_slots].copy_(self._next().flatten())
            self._loaded += 1
        self._request(goal + READ_AHEAD)

    def _next(self) -> Tensor:
        picture = self._ahead.popleft().result()
        later = self._loaded
        while isinstance(picture, DataError):  # its place is taken by the next one in order
            self._note(picture)
            later += 1
            picture = _try_to_read(self._path_at(later), side=self.side)
        return picture

    def _request(self, goal: int) -> None:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="pictures")
        for place in range(self._loaded + len(self._ahead), goal):
            self._ahead.append(self._threads.submit(_try_to_read, self._path_at(place), side=self.side))

    def _path_at(self, place: int) -> str:
        epoch, number = divmod(place, len(self.paths))
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed + epoch)
            self._order = (epoch, torch.randperm(len(self.paths), generator=generator).tolist())
        return self.paths[self._order[1][number]]

    def _note(self, error: DataError) -> None:
        path = str(error).partition(": ")[0]
        if path not in self._problems:
            self._problems[path] = str(error)
            check_unusable(list(self._problems.values()), num_pictures=len(self.paths), where=self.where)
