"""Inputs on the machine that trains: downloaded once from storage, hashes checked, into the cache."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from hoir_ray.config import map_paths
from hoir_ray.errors import PackError
from hoir_ray.machine.cache import cache_folder
from hoir_ray.machine.files import append_regular
from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.storage import Storage
from hoir_ray.storage.keys import INPUTS
from hoir_ray.storage.manifest import MANIFEST
from hoir_ray.tasks.contract import TaskConfig

UNUSED_S = 30 * 86400.0  # after which what was brought here is removed again


C = TypeVar("C", bound=TaskConfig)


def localize(config: C, inputs: Mapping[str, str], root: Storage) -> C:
    """`config` with each path that `inputs` hold replaced by a copy's on this machine, brought if need be."""
    data = getattr(config, "data", None)
    if not inputs or not isinstance(data, BaseModel):
        return config
    named = {name: getattr(data, name) for name in type(data).model_fields}
    here = map_paths(type(data), named, lambda path: str(fetch(inputs[path], root)) if path in inputs else path)
    return config.model_copy(update={"data": data.model_copy(update=here)})


def fetch(key: str, root: Storage) -> Path:
    """The copy of an input on this machine; of processes that want it at the same time, one brings it.

    Raises:
        PackError: If storage holds something else under this hash.
    """
    digest, name = key.split("/")
    cache = cache_folder() / INPUTS
    cache.mkdir(mode=0o700, exist_ok=True)
    folder = cache / digest
    with _alone(cache / f"{digest}.lock"):
        if not (folder / MANIFEST).is_file():
            _remove_unused(cache)
            with temporary_folder("input", within=cache) as temp:
                root.get_folder(f"{INPUTS}/{digest}", temp)
                if hashlib.sha256((temp / MANIFEST).read_bytes()).hexdigest() != digest:
                    raise PackError(f"{root.describe()}: '{INPUTS}/{digest}' is not what its name says")
                temp.replace(folder)
        os.utime(folder)
    return folder / name


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process of this machine at a time; the lock of a process that dies is free."""
    with append_regular(lock) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_unused(cache: Path) -> None:
    for entry in cache.iterdir():
        with contextlib.suppress(OSError):
            if entry.is_dir() and time.time() - entry.stat().st_mtime > UNUSED_S:
                shutil.rmtree(entry, ignore_errors=True)
