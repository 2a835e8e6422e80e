"""Files and folders that a sweep's data names, kept in its storage, so that trials find them on every machine."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from hoir_ray.cache import cache_folder
from hoir_ray.config import map_paths
from hoir_ray.document import Document
from hoir_ray.errors import DataError, PackError, RequestError, SpecError
from hoir_ray.spec import SweepSpec
from hoir_ray.storage import Storage
from hoir_ray.storage.folders import MANIFEST
from hoir_ray.storage.keys import check_key
from hoir_ray.task import Task, TaskConfig
from hoir_ray.wording import size

FOLDER = "inputs"
MAX_SHIP_BYTES = 2_000_000_000
UNUSED_S = 30 * 86400.0  # after which what was brought here is removed again
_CHUNK_BYTES = 1 << 24

C = TypeVar("C", bound=TaskConfig)

Show = Callable[[str, int, int], None]
"""Is told what is being read, how many bytes of it are, and of how many."""


@dataclass(frozen=True)
class Input:
    """A file or folder on this machine.

    Attributes:
        files: Name in the manifest -> file; the names begin with that of the input itself.
    """

    path: Path
    files: Mapping[str, Path]
    size_bytes: int


@dataclass(frozen=True)
class HashedInput:
    """An input and the manifest of its files; the manifest's own hash is what the input is called in storage."""

    input: Input
    manifest: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.manifest).hexdigest()

    @property
    def key(self) -> str:
        """As the spec's `inputs` say it: the hash, and the name of the file or folder below it."""
        return f"{self.digest}/{self.input.path.name}"


def input_paths(spec: SweepSpec, task: Task[Any]) -> list[str]:
    """What the sweep's data names on a disk, as it is written in the spec; samples and addresses are left out."""
    found: dict[str, None] = {}

    def note(path: str) -> str:
        found[path] = None
        return path

    config = _data_type(task)
    map_paths(config, spec.data, note)
    for name, cases in spec.parameters.items():
        for case in cases:
            map_paths(config, {name.removeprefix("data."): case.values or case.value}, note)
    return list(found)


def find_inputs(
    spec: SweepSpec, task: Task[Any], document: Document | None = None, *, max_bytes: int = MAX_SHIP_BYTES
) -> dict[str, Input]:
    """The files behind `input_paths`, looked at and not read yet. What is in storage only is left out.

    Raises:
        SpecError: If one is missing, or all together are larger than `max_bytes`.
    """
    found, problems = {}, []
    for path in input_paths(spec, task):
        file = Path(path).expanduser()
        if path in spec.inputs and not file.exists():
            continue
        try:
            found[path] = _look_at(file)
        except DataError as error:
            problems.append(f"{error}{_place(path, spec, document)}")
    if problems:
        raise SpecError("\n".join(problems))
    total = sum(i.size_bytes for i in found.values())
    if total > max_bytes:
        raise SpecError(
            f"data: {_shown(found)}: {size(total)}, more than the {size(max_bytes)} that are copied into "
            "storage unasked; raise the limit with --max-ship, or put them where every machine sees them under the "
            "same path and give --no-ship"
        )
    return found


def hash_inputs(inputs: Mapping[str, Input], *, show: Show) -> dict[str, HashedInput]:
    """Read every file once."""
    total, done = sum(i.size_bytes for i in inputs.values()), 0
    hashed = {}
    for path, each in inputs.items():
        entries = {}
        for name, file in each.files.items():
            digest, size = hashlib.sha256(), 0
            with _readable(file) as opened:
                while chunk := opened.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    size += len(chunk)
                    done += len(chunk)
                    show(f"reading {each.path.name}", done, total)
            entries[name] = {"sha256": digest.hexdigest(), "size_bytes": size}
        hashed[path] = HashedInput(each, json.dumps({"files": entries}, indent=1).encode())
    return hashed


def ship_inputs(inputs: Mapping[str, HashedInput], root: Storage, *, show: Show) -> dict[str, str]:
    """Put into storage what is not there yet.

    Returns:
        What the spec's `inputs` are: path -> key.
    """
    for each in inputs.values():
        prefix = f"{FOLDER}/{each.digest}"
        if root.exists(f"{prefix}/{MANIFEST}"):
            continue
        show(f"storing {each.input.path.name}", 0, each.input.size_bytes)
        with tempfile.TemporaryDirectory(prefix="hoir-inputs-") as temp:
            for name, file in each.input.files.items():
                link = Path(temp, name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file.absolute())
            Path(temp, MANIFEST).write_bytes(each.manifest)
            root.put_folder(prefix, Path(temp))
        show(f"storing {each.input.path.name}", each.input.size_bytes, each.input.size_bytes)
    return {path: each.key for path, each in inputs.items()}


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
    cache = cache_folder() / FOLDER
    cache.mkdir(mode=0o700, exist_ok=True)
    folder = cache / digest
    with _alone(cache / f"{digest}.lock"):
        if not (folder / MANIFEST).is_file():
            _remove_unused(cache)
            temp = Path(tempfile.mkdtemp(prefix=f".{digest[:8]}-", dir=cache))
            try:
                root.get_folder(f"{FOLDER}/{digest}", temp)
                if hashlib.sha256((temp / MANIFEST).read_bytes()).hexdigest() != digest:
                    raise PackError(f"{root.describe()}: '{FOLDER}/{digest}' is not what its name says")
                temp.replace(folder)
            finally:
                shutil.rmtree(temp, ignore_errors=True)
        os.utime(folder)
    return folder / name


def _data_type(task: Task[Any]) -> type[BaseModel]:
    data = task.config.model_fields["data"].annotation
    assert isinstance(data, type)
    assert issubclass(data, BaseModel)
    return data


def _look_at(path: Path) -> Input:
    if path.is_file():
        files = {path.name: path}
    elif path.is_dir():
        below = sorted(p for p in path.rglob("*") if p.is_file())
        seen = [p.relative_to(path) for p in below]
        files = {f"{path.name}/{r.as_posix()}": path / r for r in seen if not any(n.startswith(".") for n in r.parts)}
        if not files:
            raise DataError(f"{path}: there is no file in this folder")
    else:
        raise DataError(f"{path}: no such file or folder on this machine")
    if path.name == MANIFEST:
        raise DataError(f"{path}: give it another name than {MANIFEST}")
    for name, file in files.items():
        try:
            check_key(name)
        except RequestError as error:
            raise DataError(f"{file}: cannot be kept in storage: {error}") from None
    return Input(path, files, sum(f.stat().st_size for f in files.values()))


def _place(path: str, spec: SweepSpec, document: Document | None) -> str:
    if document is None:
        return ""
    for name, value in spec.data.items():
        if path == value or (isinstance(value, (list, tuple)) and path in value):
            return f" ({document.place('data', name)})"
    return f" ({document.place('parameters')})"


def _shown(inputs: Mapping[str, Input]) -> str:
    names = [i.path.name for i in inputs.values()]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[Any]:
    try:
        with file.open("rb") as opened:
            yield opened
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process of this machine at a time; the lock of a process that dies is free."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_unused(cache: Path) -> None:
    for entry in cache.iterdir():
        with contextlib.suppress(OSError):
            if entry.is_dir() and time.time() - entry.stat().st_mtime > UNUSED_S:
                shutil.rmtree(entry, ignore_errors=True)
