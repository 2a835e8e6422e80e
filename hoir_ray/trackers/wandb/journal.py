"""The journal of a run: all that it is to hold, as plain files, until W&B has all of it.

W&B's own offline files are written by a separate process and may end in the middle of a record when a trial ends
before that process has caught up. A journal is whole whenever it is looked at, and needs nothing of W&B's.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hoir_ray.machine.files import append_regular, read_regular, replacing

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)
_MAX_BYTES = 2**30
_RUN, _ROWS, _PICTURES, _SUMMARY = "run.json", "rows.jsonl", "pictures", "summary.json"


@dataclass(frozen=True)
class Entry:
    """One epoch, with what was measured and drawn in it."""

    epoch: int
    metrics: Mapping[str, float]
    pictures: Mapping[str, Path]


class Journal:
    """One run's folder, which appears with the first thing that is noted, and is claimed from then until `release`.

    Args:
        run: The run's project, entity, tags, id, name, group, job_type and config; None where the folder has them.
    """

    def __init__(self, folder: Path, *, run: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.run: dict[str, Any] = dict(run) if run is not None else json.loads(_read(folder / _RUN))
        self._is_open = False
        self._claimed: int | None = None
        self.last_epoch = max((entry.epoch for entry in self.entries()), default=-1)

    def add_config(self, values: Mapping[str, Any]) -> None:
        self.run["config"] = {**self.run["config"], **values}
        self._is_open = False
        self._open()

    def add_row(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Add a row and return whether it is new: a trial that resumes from a checkpoint reports some epochs again."""
        if epoch <= self.last_epoch:
            return False
        self._open()
        with append_regular(self.folder / _ROWS) as file:
            file.write((json.dumps({"epoch": epoch, **metrics}) + "\n").encode())
        self.last_epoch = epoch
        return True

    def add_pictures(self, epoch: int, pictures: Mapping[str, Tensor]) -> Entry:
        from hoir_ray.pictures.save import save_picture  # here, because `hoir sync` needs no torch

        self._open()
        files = {name: self._picture(epoch, name) for name in pictures}
        for name, path in files.items():
            save_picture(pictures[name], path)
        return Entry(epoch, {}, files)

    def add_summary(self, summary: Mapping[str, Any]) -> None:
        self._open()
        with replacing(self.folder / _SUMMARY, durable=False) as file:
            file.write(json.dumps(summary).encode())

    def entries(self) -> Iterator[Entry]:
        """List the epochs so far, in order; a line that a killed process did not finish is left out."""
        for row in map(json.loads, self._lines()):
            epoch = int(row.pop("epoch"))
            found = sorted((self.folder / _PICTURES / f"{epoch:06d}").glob("*.png"))
            yield Entry(epoch, row, {path.stem: path for path in found if path.is_file()})

    def summary(self) -> dict[str, Any] | None:
        with suppress(OSError):
            return json.loads(_read(self.folder / _SUMMARY))
        return None

    def claim(self) -> bool:
        """Claim the journal and return whether it was free on this machine; a process that dies loses its claim.

        Source: flock(2) of the folder itself, so that nothing is left in it.
        """
        if self._claimed is None:
            descriptor = os.open(self.folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            except OSError:  # a file system without such locks
                os.close(descriptor)
                return True
            self._claimed = descriptor
        return True

    def release(self) -> None:
        if self._claimed is not None:
            os.close(self._claimed)
            self._claimed = None

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self) -> None:
        if self._is_open:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.claim()
        for name, text in ((_ROWS, "".join(self._lines())), (_RUN, json.dumps(self.run))):
            with replacing(self.folder / name, durable=False) as file:
                file.write(text.encode())
        self._is_open = True

    def _lines(self) -> list[str]:
        try:
            lines = _read(self.folder / _ROWS).splitlines(keepends=True)
        except OSError:
            return []
        return [line for line in lines if line.endswith("\n")]

    def _picture(self, epoch: int, name: str) -> Path:
        return self.folder / _PICTURES / f"{epoch:06d}" / f"{name}.png"


def _read(path: Path) -> str:
    return read_regular(path, max_bytes=_MAX_BYTES).decode()


def find_journals(directory: Path) -> list[Journal]:
    """Of all runs anywhere below `directory` that W&B has not got, or not completely.

    A folder that is not named after its run is a copy that a file synchroniser made, and a run that cannot be read is
    warned of.
    """
    found = []
    for path in sorted(directory.rglob(f"wandb/*/{_RUN}")):
        try:
            journal = Journal(path.parent)
            if journal.run["id"] == path.parent.name:
                found.append(journal)
        except (OSError, ValueError, TypeError, KeyError) as error:
            _log.warning("%s: not a run that was recorded here: %s", path, error)
    return found
