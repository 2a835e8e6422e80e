"""The cache folder: files that can be made again, kept between processes in a private folder of the user."""

from __future__ import annotations

import functools
import os
import stat
import tempfile
from pathlib import Path

from hoir_ray.machine.temporary import folder_until_exit


def cache_folder() -> Path:
    """`~/.cache/hoir_ray`; where there is no home to write to, a temporary folder of this user.

    No other user may write to it, since libraries in it are loaded and run.
    """
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(root) if root else Path.home() / ".cache") / "hoir_ray"
    except RuntimeError:  # no home is known
        return _temporary_folder()
    return folder if make_private(folder) else _temporary_folder()


def is_private(path: Path, *, of_folder: bool) -> bool:
    """Return whether a file or folder is no link, belongs to this user, and can be changed by no other."""
    try:
        found = path.lstat()
    except OSError:
        return False
    is_kind = stat.S_ISDIR(found.st_mode) if of_folder else stat.S_ISREG(found.st_mode)
    return is_kind and found.st_uid == os.getuid() and not found.st_mode & 0o022


def is_own(path: Path) -> bool:
    """Return whether a file or folder is no link of either kind and belongs to this user."""
    try:
        found = path.lstat()
    except OSError:
        return False
    if found.st_uid != os.getuid():
        return False
    return stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)


def make_private(folder: Path) -> bool:
    """Make a folder where there is none; whether it is private and can be written.

    One that is this user's but open to others is closed: whatever they have put there is a file of theirs, which
    `is_private` refuses.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and found.st_mode & 0o022:
            folder.chmod(0o700)
    except OSError:
        return False
    return is_private(folder, of_folder=True) and os.access(folder, os.W_OK)


@functools.cache
def _temporary_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"hoir_ray-{os.getuid()}"
    return folder if make_private(folder) else folder_until_exit("cache")
