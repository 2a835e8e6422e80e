"""The cache folder: files that can be made again, kept between processes in a private folder of the user."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """`~/.cache/hoir_ray`; where there is no home to write to, a temporary folder of this user.

    No other user may write to it, since libraries in it are loaded and run.
    """
    root = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(root) if root else Path.home() / ".cache") / "hoir_ray"
    return folder if _is_ours(folder) else _temporary_folder()


def _is_ours(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK)
    except (OSError, RuntimeError):  # RuntimeError: no home is known
        return False


@functools.cache
def _temporary_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"hoir_ray-{os.getuid()}"
    mine = not folder.is_symlink() and _is_ours(folder) and not folder.stat().st_mode & 0o022
    return folder if mine else Path(tempfile.mkdtemp(prefix="hoir_ray-"))
