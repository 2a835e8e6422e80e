"""Removal of a whole sweep, which can be repeated where it was interrupted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from hoir_ray.errors import RequestError
from hoir_ray.machine.files import RESERVED
from hoir_ray.machine.processes import user_and_host
from hoir_ray.results.management.contents import FOLDERS, Contents
from hoir_ray.results.sweep_results import SPEC
from hoir_ray.storage import Storage, acquire_lock
from hoir_ray.storage.lock import LEFT, LOCK

_AT_A_TIME = 500
ADVICE = "stop it first"
_LAST = (SPEC, LOCK, LEFT)  # by which what an interrupted removal has left is still known for a sweep


def remove_sweep(
    storage: Storage, contents: Contents, *, show: Callable[[str, int, int], None] = lambda what, done, total: None
) -> Sequence[str]:
    """Remove what a sweep has written; nobody can start it meanwhile.

    Args:
        contents: Of its folder, by `contents_of`.
        show: Is told how many bytes are removed, and of how many.

    Returns:
        What stays in its folder, because no sweep wrote it.

    Raises:
        LockedError: If somebody runs the sweep.
        StorageError: If something cannot be removed.
    """
    objects = [o for o in contents.own if o.key not in _LAST]
    with acquire_lock(storage, owner=user_and_host(), advice=ADVICE) as lock:
        done = 0
        for start in range(0, len(objects), _AT_A_TIME):
            if not lock.is_ours():
                raise RequestError(f"{storage.uri}: somebody else has taken this sweep over; the rest stays")
            batch = objects[start : start + _AT_A_TIME]
            storage.delete_keys([o.key for o in batch])
            done += sum(o.size_bytes for o in batch)
            show("removing", done, contents.size_bytes)
        for folder in FOLDERS if storage.folder is not None else ():
            storage.delete_all(folder)  # unfinished files, which no listing shows
        storage.delete(SPEC)
        lock.discard()
    return _left(storage)


def _left(storage: Storage) -> Sequence[str]:
    """Remove the folder itself where nothing is left in it; otherwise name what is."""
    folder = storage.folder
    if folder is None:
        return [o.key for o in storage.list()]
    for path in folder.glob(f"{RESERVED}*"):
        with contextlib.suppress(OSError):
            path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
