"""A trial's checkpoints in storage: the newest and the one before it, each counting only with its manifest."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hoir_ray.errors import PackError, WorkError
from hoir_ray.storage import BackgroundUploader, MissingObjectError, Storage
from hoir_ray.storage.manifest import MANIFEST
from hoir_ray.training.checkpoints import read_checkpoint

CHECKPOINT = "last.ckpt"
CURVE = "curve.json"
_NAME = re.compile(r"a\d{3,}-e\d{7,}")


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """State from which a trial resumes: its curve so far, and a note for each broken checkpoint passed over.

    Attributes:
        name: The checkpoint's; None if there is none.
    """

    name: str | None = None
    curve: tuple[dict[str, float], ...] = ()
    notes: list[str] = field(default_factory=list)


def newest_complete(names: Mapping[str, Iterable[str]]) -> str | None:
    """The newest of a trial's checkpoints, each with the keys of its files, that is complete; None if none is."""
    return max((name for name, keys in names.items() if any(k.endswith(f"/{MANIFEST}") for k in keys)), default=None)


def newest_checkpoints(storage: Storage) -> dict[str, int]:
    """Trial -> epoch of its newest complete checkpoint in a sweep's storage."""
    found: dict[str, dict[str, list[str]]] = {}
    for key in (o.key for o in storage.list("trials")):
        _, trial, *rest = key.split("/")
        if len(rest) == 3 and rest[0] == "checkpoints" and _NAME.fullmatch(rest[1]):
            found.setdefault(trial, {}).setdefault(rest[1], []).append(key)
    newest = {trial: newest_complete(names) for trial, names in found.items()}
    return {trial: int(name.rpartition("-e")[2]) for trial, name in newest.items() if name}


class Checkpoints:
    """Checkpoints of one trial under `trials/<trial>/checkpoints/a<attempt>-e<epoch>/`.

    The attempt stands first in the name, so that what a cut-off worker still writes never passes for the newest.
    """

    def __init__(self, storage: Storage, *, trial: str, attempt: int) -> None:
        self._storage = storage
        self._folder = f"trials/{trial}/checkpoints"
        self._attempt = attempt
        self._good: list[str] = []
        self._useless: list[str] = []

    def fetch(self, path: Path) -> Resumed:
        """Bring the newest good checkpoint to `path`; without one, `path` stays missing.

        Raises:
            StorageError: If storage cannot be read, which says nothing about the checkpoints in it.
        """
        notes: list[str] = []
        names = self._names()
        for name in reversed(names):
            with tempfile.TemporaryDirectory(dir=path.parent) as temp:
                try:
                    curve = self._bring(name, Path(temp))
                except (PackError, MissingObjectError) as error:
                    notes.append(f"checkpoint {name} passed over: {error}")
                    continue
                (Path(temp) / CHECKPOINT).replace(path)
            self._good, self._useless = [name], [n for n in names if n != name]
            return Resumed(name=name, curve=curve, notes=notes)
        self._useless = names
        return Resumed(notes=notes)

    def fetch_same(self, name: str, path: Path) -> None:
        """Bring the checkpoint that the trial's first worker found to be the newest good one.

        Raises:
            WorkError: If this worker cannot have it.
        """
        try:
            with tempfile.TemporaryDirectory(dir=path.parent) as temp:
                self._bring(name, Path(temp))
                (Path(temp) / CHECKPOINT).replace(path)
        except (PackError, MissingObjectError) as error:
            raise WorkError(f"one of the trial's workers could not fetch checkpoint {name}: {error}") from None

    def _bring(self, name: str, folder: Path) -> tuple[dict[str, float], ...]:
        self._storage.get_folder(f"{self._folder}/{name}", folder)
        read_checkpoint(folder / CHECKPOINT)
        try:
            rows = json.loads((folder / CURVE).read_text())
            if not isinstance(rows, list):
                raise TypeError("it is not a list")
            curve = tuple({str(k): float(v) for k, v in row.items()} for row in rows)
            if curve and curve[-1]["epoch"] > int(name.rpartition("-e")[2]):
                raise ValueError("it has rows of later epochs")
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise PackError(f"{CURVE} is not the curve of a trial: {error}") from None
        return curve

    def save(
        self, uploader: BackgroundUploader, path: Path, *, epoch: int, curve: Sequence[Mapping[str, float]]
    ) -> None:
        """Queue the upload of `path`, which is handed over; one that is still queued is dropped for this one."""
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix="upload-"))
        path.replace(folder / CHECKPOINT)
        (folder / CURVE).write_text(json.dumps(list(curve)))
        name = f"a{self._attempt:03d}-e{epoch:07d}"
        uploader.submit(self._folder, lambda: self._upload(name, folder), remove=folder)

    def _upload(self, name: str, folder: Path) -> None:
        """Write one, and only then remove all but it and the good one before."""
        self._storage.put_folder(f"{self._folder}/{name}", folder)
        if name not in self._good:
            self._good.append(name)
        self._useless += self._good[:-2]
        self._good = self._good[-2:]
        self._remove(self._useless)
        self._useless = []

    def keep_newest(self) -> None:
        """Remove all but the newest good one, after the trial has ended and its uploads are done."""
        self._remove([*self._useless, *self._good[:-1]])

    def _remove(self, names: Sequence[str]) -> None:
        """Delete checkpoints in one request, since their files are known."""
        files = (MANIFEST, CHECKPOINT, CURVE)  # without its manifest, the rest no longer counts
        self._storage.delete_keys([f"{self._folder}/{name}/{file}" for name in names for file in files])

    def _names(self) -> list[str]:
        listed = {o.key.removeprefix(f"{self._folder}/").split("/")[0] for o in self._storage.list(self._folder)}
        return sorted(name for name in listed if _NAME.fullmatch(name))
