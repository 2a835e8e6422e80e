"""A trial's checkpoints in storage: the newest and the one before it, each counting only with its manifest."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from hoir_ray.errors import PackError, StorageError
from hoir_ray.storage import BackgroundUploader, Storage

FILE = "last.ckpt"
_NAME = re.compile(r"a(\d+)-e(\d+)")


class Checkpoints:
    """Checkpoints of one trial under `trials/<trial>/checkpoints/a<attempt>-e<epoch>/`.

    The attempt stands first in the name, so that what a cut-off worker still writes never passes for the newest.
    """

    def __init__(self, storage: Storage, *, trial: str, attempt: int) -> None:
        self._storage = storage
        self._folder = f"trials/{trial}/checkpoints"
        self._attempt = attempt

    def latest(self, path: Path) -> tuple[bool, list[str]]:
        """Fetch the newest good checkpoint to `path`.

        Returns:
            Whether there is one, and a line for each newer one that was passed over because it is broken.
        """
        passed_over: list[str] = []
        for name in reversed(self._names()):
            with tempfile.TemporaryDirectory(dir=path.parent) as temp:
                try:
                    self._storage.get_folder(f"{self._folder}/{name}", Path(temp))
                    (Path(temp) / FILE).replace(path)
                    return True, passed_over
                except (PackError, StorageError, OSError) as error:
                    passed_over.append(f"checkpoint {name} passed over: {error}")
        return False, passed_over

    def save(self, uploader: BackgroundUploader, path: Path, *, epoch: int) -> None:
        """Queue the upload of `path`, a file that is handed over, and the removal of those it makes superfluous."""
        temp = Path(tempfile.mkdtemp(dir=path.parent, prefix="upload-"))
        path.replace(temp / FILE)
        uploader.put_folder(f"{self._folder}/a{self._attempt:03d}-e{epoch:07d}", temp, remove=True)
        self._uploaded = [*getattr(self, "_uploaded", []), epoch]
        for old in self._uploaded[:-2]:
            uploader.delete_all(f"{self._folder}/a{self._attempt:03d}-e{old:07d}")
        self._uploaded = self._uploaded[-2:]

    def keep_newest(self) -> None:
        """Remove all but the newest one, after the trial has ended."""
        for name in self._names()[:-1]:
            self._storage.delete_all(f"{self._folder}/{name}")

    def _names(self) -> list[str]:
        listed = {o.key.removeprefix(f"{self._folder}/").split("/")[0] for o in self._storage.list(self._folder)}
        return sorted(name for name in listed if _NAME.fullmatch(name))
