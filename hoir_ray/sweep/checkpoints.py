"""A trial's checkpoints in storage: the newest and the one before it, each counting only with its manifest."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hoir_ray.errors import HoirError
from hoir_ray.storage import BackgroundUploader, Storage

CHECKPOINT = "last.ckpt"
CURVE = "curve.json"
_NAME = re.compile(r"a\d{3,}-e\d{7,}")


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """What a trial goes on from: the rows of its curve so far, and a note for each broken checkpoint passed over."""

    curve: tuple[dict[str, float], ...] = ()
    notes: list[str] = field(default_factory=list)


class Checkpoints:
    """Checkpoints of one trial under `trials/<trial>/checkpoints/a<attempt>-e<epoch>/`.

    The attempt stands first in the name, so that what a cut-off worker still writes never passes for the newest.
    """

    def __init__(self, storage: Storage, *, trial: str, attempt: int) -> None:
        self._storage = storage
        self._folder = f"trials/{trial}/checkpoints"
        self._attempt = attempt
        self._written: list[str] = []

    def fetch(self, path: Path) -> Resumed:
        """Bring the newest good checkpoint to `path`; without one, `path` stays missing."""
        notes: list[str] = []
        for name in reversed(self._names()):
            with tempfile.TemporaryDirectory(dir=path.parent) as temp:
                try:
                    self._storage.get_folder(f"{self._folder}/{name}", Path(temp))
                    curve = json.loads((Path(temp) / CURVE).read_text())
                    (Path(temp) / CHECKPOINT).replace(path)
                    return Resumed(curve=tuple(curve), notes=notes)
                except (HoirError, OSError, ValueError) as error:
                    notes.append(f"checkpoint {name} passed over: {error}")
        return Resumed(notes=notes)

    def save(
        self, uploader: BackgroundUploader, path: Path, *, epoch: int, curve: Sequence[Mapping[str, float]]
    ) -> None:
        """Queue the upload of `path`, which is handed over, and the removal of all but the one before it."""
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix="upload-"))
        path.replace(folder / CHECKPOINT)
        (folder / CURVE).write_text(json.dumps(list(curve)))
        name = f"a{self._attempt:03d}-e{epoch:07d}"
        uploader.put_folder(f"{self._folder}/{name}", folder, remove=True)
        self._written.append(name)
        while len(self._written) > 2:
            uploader.delete_all(f"{self._folder}/{self._written.pop(0)}")

    def keep_newest(self) -> None:
        """Remove all but the newest one, after the trial has ended."""
        for name in self._names()[:-1]:
            self._storage.delete_all(f"{self._folder}/{name}")

    def _names(self) -> list[str]:
        listed = {o.key.removeprefix(f"{self._folder}/").split("/")[0] for o in self._storage.list(self._folder)}
        return sorted(name for name in listed if _NAME.fullmatch(name))
