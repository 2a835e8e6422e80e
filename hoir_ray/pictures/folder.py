"""Pictures of a folder: which of its files they are, and what of it is left out and why."""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from hoir_ray.machine.files import files_below

# Pillow knows such a file when it sees one, and then wants a program or library that it does not have.
_NAMED_ONLY = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})


@dataclass(frozen=True)
class FolderPictures:
    """Attributes:
    paths: Files that are pictures by name or by content, sorted.
    left_out: Suffix (or "no suffix") -> how many other files have it.
    """

    paths: tuple[str, ...]
    left_out: dict[str, int]

    def describe(self, folder: str) -> str:
        """One line on what is taken and what is not."""
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(self.left_out.items()))
        other = f"; {sum(self.left_out.values())} other files are no pictures that Pillow opens ({kinds})"
        taken = f"{len(self.paths)} pictures are taken" if self.paths else "no pictures in it or below it"
        return f"{folder}: {taken}{other if kinds else ''}"


def find_pictures_below(folder: Path) -> FolderPictures:
    """Find the pictures in a folder and below it; links are followed, each folder and linked file counts once.

    A file whose name does not tell is looked into: whatever Pillow opens is a picture. A broken file that is named like
    one is listed too, so that it is missed when it is read.
    """
    named, paths, left_out = _suffixes(), [], Counter[str]()
    for file in files_below(folder):
        suffix = file.suffix.lower()
        if named.get(suffix) or (suffix not in named and _is_picture(file)):
            paths.append(str(file))
        else:
            left_out[suffix or "without a suffix"] += 1
    return FolderPictures(tuple(sorted(paths)), dict(left_out))


@functools.cache
def _suffixes() -> dict[str, bool]:
    """Suffixes that Pillow knows, and whether it can read what they stand for."""
    known = Image.registered_extensions()
    return {suffix: kind in Image.OPEN and kind not in _NAMED_ONLY for suffix, kind in known.items()}


def _is_picture(file: Path) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(file, formats=[kind for kind in Image.OPEN if kind not in _NAMED_ONLY]) as picture:
                return picture.format is not None
        except Exception:  # some forty readers raise what they like at a file of another kind
            return False
