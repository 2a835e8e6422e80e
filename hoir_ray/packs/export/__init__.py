"""A model pack in another program's format: `hoir export`. A format is a module with a `write`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from hoir_ray.config import nearest
from hoir_ray.errors import RequestError, StorageError
from hoir_ray.machine.files import reason, try_destination
from hoir_ray.packs.pack import Pack

FORMATS = {"html": "html", "onnx": "onnx", "torch": "program", "upstream": "upstream"}


def export(pack: Pack, *, kind: str, out: Path) -> str:
    """Write the pack's network to the file `out`.

    Args:
        kind: One of `FORMATS`.

    Returns:
        How the file is used, in a line or two.

    Raises:
        RequestError: If there is no such format, or it has no such network.
        StorageError: If the file cannot be written.
    """
    if kind not in FORMATS:
        raise RequestError(f"--format {kind}: unknown.{nearest(kind, FORMATS)} Known: {', '.join(FORMATS)}")
    try_destination(out, source="--out")
    try:
        return import_module(f"{__name__}.{FORMATS[kind]}").write(pack, out)
    except OSError as error:
        raise StorageError(f"{out}: could not be written: {reason(error)}") from error
