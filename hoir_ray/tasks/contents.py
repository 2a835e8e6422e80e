"""Contents of a sweep's data: what tells the same files at another place from others at the same place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hoir_ray.errors import DataError
from hoir_ray.machine.files import open_regular
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.tasks.contract import Task
from hoir_ray.tasks.inputs import Input, input_paths, look_at

# Up to so many bytes are read whole. Of more, the names and sizes of all files, and both ends of some.
MAX_WHOLE_BYTES = 256 * 2**20
NUM_SAMPLED, END_BYTES = 1_000, 1 << 16


def contents_of(spec: SweepSpec, task: Task[Any]) -> dict[str, str]:
    """Fingerprint of each file and folder that the sweep's data names and this machine has.

    Raises:
        DataError: If one cannot be read.
    """
    found = {}
    for path in input_paths(spec, task):
        file = Path(path).expanduser()
        if file.exists():
            found[path] = fingerprint(look_at(file))
    return found


def fingerprint(data: Input) -> str:
    """A hash of the names below the input, of sizes and of bytes; the input's own name and place are no part of it."""
    digest = hashlib.sha256()
    whole = data.size_bytes <= MAX_WHOLE_BYTES
    step = max(1, len(data.files) // NUM_SAMPLED)
    for number, (name, file) in enumerate(sorted(data.files.items())):
        digest.update(f"{name.partition('/')[2]}\0{file.stat().st_size}\0".encode())
        if whole or number % step == 0:
            digest.update(_bytes_of(file, whole=whole))
    return digest.hexdigest()


def _bytes_of(file: Path, *, whole: bool) -> bytes:
    try:
        with open_regular(file) as opened:
            if whole:
                return hashlib.file_digest(opened, "sha256").digest()
            head = opened.read(END_BYTES)
            opened.seek(max(0, file.stat().st_size - END_BYTES))
            return hashlib.sha256(head + opened.read(END_BYTES)).digest()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None


def by_content(values: Any, contents: Mapping[str, str]) -> Any:
    """Plain values in which each path of known content is replaced by its fingerprint."""
    if isinstance(values, dict):
        return {key: by_content(value, contents) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [by_content(value, contents) for value in values]
    return contents.get(values, values) if isinstance(values, str) else values
