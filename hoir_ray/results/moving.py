"""Sweeps as wholes: copied to another storage, and removed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hoir_ray.errors import RequestError, StorageError
from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.results.ledger import LEDGER
from hoir_ray.results.sweep_results import SPEC
from hoir_ray.storage import MissingObjectError, Storage, StoredObject, acquire_lock, read_lease
from hoir_ray.storage.lock import LEFT, LOCK
from hoir_ray.storage.manifest import MANIFEST

COPYING = "copying.json"  # in the target, until the copy is whole
FILES_AT_A_TIME = 8
COMPARED_BYTES = 65_536  # below it contents are compared, not sizes: a ledger's records may differ in a digit
Show = Callable[[str, int, int], None]


def contents_of(storage: Storage) -> list[StoredObject]:
    """Everything that a sweep has in storage.

    Raises:
        RequestError: If there is no sweep.
    """
    objects = storage.list()
    if not any(o.key in (SPEC, COPYING) or o.key.startswith(f"{LEDGER}/") for o in objects):
        raise RequestError(f"no sweep at {storage.uri}: it has no {SPEC}")
    return objects


def remove_sweep(storage: Storage, *, owner: str) -> None:
    """Remove a sweep, its trials and its models. An interrupted removal can be repeated.

    Args:
        owner: Shown to whoever would start the sweep meanwhile, such as user@host.

    Raises:
        RequestError: If there is no sweep, or somebody runs it.
    """
    objects = contents_of(storage)
    with acquire_lock(storage, owner=owner, advice="wait until it has ended, or stop it"):
        # Last what makes it a sweep, so that what an interruption leaves is still one.
        last = (LOCK, LEFT, SPEC)
        storage.delete_keys([o.key for o in objects if o.key not in last])
        storage.delete(SPEC)
    storage.delete_all("")


def copy_sweep(source: Storage, target: Storage, *, show: Show = lambda what, done, total: None) -> int:
    """Copy a sweep that nobody runs; returns the bytes that were sent.

    What an interrupted copy has brought is not sent again.

    Args:
        show: Told how many bytes are there of how many.

    Raises:
        RequestError: If there is no sweep, somebody runs it, or the target holds anything but an interrupted copy.
        StorageError: If the copy is not what the sweep is, as where it was resumed meanwhile.
    """
    objects = [o for o in contents_of(source) if o.key not in (LOCK, LEFT, COPYING)]
    lease = read_lease(source)
    if lease is not None and lease.is_held:
        raise RequestError(f"{source.uri}: {lease.owner} runs it since {lease.since}; copy it when it has ended")
    there = _begin(source, target)
    sizes = {o.key: o.size_bytes for o in objects}
    missing = [o for o in objects if not _is_there(o, source, target, there)]
    total, sent = sum(sizes.values()), 0
    present = total - sum(o.size_bytes for o in missing)
    show("copying", present, total)
    with temporary_folder("copy") as folder:
        for group in _groups(missing):
            with ThreadPoolExecutor(FILES_AT_A_TIME, thread_name_prefix="hoir-copy") as pool:
                for each, _ in zip(group, pool.map(lambda o: _send(o, source, target, folder), group), strict=True):
                    sent += each.size_bytes
                    show("copying", present + sent, total)
    arrived = {o.key: o.size_bytes for o in target.list() if o.key not in (COPYING, LOCK, LEFT)}
    if arrived != sizes:
        different = min(k for k in {*arrived, *sizes} if arrived.get(k) != sizes.get(k))
        raise StorageError(f"{target.uri}: '{different}' is not as in {source.uri}; the same command copies it again")
    target.delete(COPYING)
    return sent


def _begin(source: Storage, target: Storage) -> dict[str, int]:
    """Sizes of what an interrupted copy has brought."""
    there = {o.key: o.size_bytes for o in target.list()}
    mark = json.dumps({"from": source.uri}).encode()
    if COPYING in there:
        if target.get(COPYING) != mark:
            raise RequestError(f"{target.uri}: holds an interrupted copy of another sweep; 'hoir remove' takes it away")
    elif there:
        raise RequestError(f"{target.uri}: is in use; copy to a place where nothing is")
    target.put(COPYING, mark)
    return there


def _is_there(each: StoredObject, source: Storage, target: Storage, there: dict[str, int]) -> bool:
    if there.get(each.key) != each.size_bytes:
        return False
    return each.size_bytes > COMPARED_BYTES or source.get(each.key) == target.get(each.key)


def _groups(objects: Sequence[StoredObject]) -> list[list[StoredObject]]:
    """Objects that may be sent at the same time: what is not whole yet is to be no pack, and no sweep."""
    manifests = [o for o in objects if o.key.rpartition("/")[2] == MANIFEST]
    files = [o for o in objects if o.key != SPEC and o not in manifests]
    return [files, manifests, [o for o in objects if o.key == SPEC]]


def _send(each: StoredObject, source: Storage, target: Storage, folder: Path) -> None:
    file = folder / hashlib.sha256(each.key.encode()).hexdigest()
    try:
        source.get_file(each.key, file)
    except MissingObjectError:
        raise StorageError(f"{source.uri}: '{each.key}' was removed meanwhile; the same command goes on") from None
    try:
        target.put_file(each.key, file)
    finally:
        file.unlink()
