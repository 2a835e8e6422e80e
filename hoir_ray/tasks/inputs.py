"""Input files and folders named by a sweep's data: found, hashed, and copied into its storage."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hoir_ray.config import map_paths
from hoir_ray.errors import DataError, RequestError, SpecError
from hoir_ray.machine.files import files_below, open_regular
from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.spec.document import Document
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.storage import Storage
from hoir_ray.storage.keys import INPUTS, check_key
from hoir_ray.storage.manifest import MANIFEST, Entry, make_manifest
from hoir_ray.tasks.contract import Task
from hoir_ray.wording import size

MAX_SHIP_BYTES = 2_000_000_000


_CHUNK_BYTES = 1 << 24


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
        """Key in the spec's `inputs`: the hash, and the name of the file or folder below it."""
        return f"{self.digest}/{self.input.path.name}"


def input_paths(spec: SweepSpec, task: Task[Any]) -> list[str]:
    """List the paths in the sweep's data, as written in the spec; samples and addresses are left out."""
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
            found[path] = look_at(file)
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
            entries[name] = Entry(sha256=digest.hexdigest(), size_bytes=size)
        hashed[path] = HashedInput(each, make_manifest(entries))
    return hashed


def ship_inputs(inputs: Mapping[str, HashedInput], root: Storage, *, show: Show) -> dict[str, str]:
    """Put into storage what is not there yet.

    Returns:
        What the spec's `inputs` are: path -> key.
    """
    for each in inputs.values():
        prefix = f"{INPUTS}/{each.digest}"
        if root.exists(f"{prefix}/{MANIFEST}"):
            continue
        show(f"storing {each.input.path.name}", 0, each.input.size_bytes)
        with temporary_folder("inputs") as temp:
            for name, file in each.input.files.items():
                link = Path(temp, name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file.absolute())
            Path(temp, MANIFEST).write_bytes(each.manifest)
            root.put_folder(prefix, Path(temp))
        show(f"storing {each.input.path.name}", each.input.size_bytes, each.input.size_bytes)
    return {path: each.key for path, each in inputs.items()}


def _data_type(task: Task[Any]) -> type[BaseModel]:
    data = task.config.model_fields["data"].annotation
    assert isinstance(data, type)
    assert issubclass(data, BaseModel)
    return data


def look_at(path: Path) -> Input:
    """Find the files of an input, without reading them.

    Raises:
        DataError: If there is none, or one cannot be kept in storage under its name.
    """
    if path.is_file():
        files = {path.name: path}
    elif path.is_dir():
        files = {f"{path.name}/{p.relative_to(path).as_posix()}": p for p in sorted(files_below(path))}
        if not files:
            raise DataError(f"{path}: there is no file in this folder")
    elif path.exists():
        raise DataError(f"{path}: is a pipe, a socket or a device, where a file or a folder is needed")
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
        with open_regular(file) as opened:
            yield opened
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None
