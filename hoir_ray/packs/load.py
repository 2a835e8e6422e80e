"""The one way to read a network that was kept: a model pack's folder, or its one `.hoir` file."""

from __future__ import annotations

from pathlib import Path

from hoir_ray.errors import PackError
from hoir_ray.machine.files import open_regular, read_at_most
from hoir_ray.packs.codec import container
from hoir_ray.packs.codec.file import decode
from hoir_ray.packs.pack import Pack, load_pack


def load(path: Path) -> Pack:
    """The network and all that is known of it, from a folder or from a file.

    Raises:
        PackError: If it is missing, damaged, or of a format, task or config that is not known here.
    """
    if path.is_dir() or not path.exists():
        return load_pack(path)
    try:
        with open_regular(path) as file:
            content = read_at_most(file, container.MAX_BYTES + 1)
    except OSError as error:
        raise PackError(f"{path}: unreadable: {error.strerror or error}") from error
    if len(content) > container.MAX_BYTES:
        raise PackError(f"{path}: must have at most {container.MAX_BYTES:,} bytes")
    return decode(content, path=path)
