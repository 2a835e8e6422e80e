"""Import paths of Ray's workers: those of the installation, and not the folder in which the user stands."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import hoir_ray

if TYPE_CHECKING:
    from ray.job_config import JobConfig


class _Fixed(list[str]):
    """Import paths to which Ray can add none: it puts the driver's own folder and the current one first."""

    def extend(self, paths: Iterable[str]) -> None:
        """Leave them as they are."""


def without_driver_paths() -> JobConfig:
    """Ray's settings for a job whose workers import what is installed, whatever lies where the driver was started."""
    from ray.job_config import JobConfig

    config = JobConfig()
    config._py_driver_sys_path = _Fixed(_source_tree())
    return config


def _source_tree() -> list[str]:
    """The folder of this package where only the current folder leads to it, as in a source tree without an install."""
    parent = Path(hoir_ray.__file__).resolve().parent.parent
    stands_there = parent == Path.cwd().resolve()
    known = [Path(p).resolve() for p in sys.path if p not in ("", ".")]
    return [str(parent)] if stands_there and parent not in known else []


def without_current_folder(paths: str | None) -> str | None:
    """PYTHONPATH without empty entries, which stand for wherever a process is."""
    kept = [p for p in (paths or "").split(os.pathsep) if p not in ("", ".")]
    return os.pathsep.join(kept) or None
