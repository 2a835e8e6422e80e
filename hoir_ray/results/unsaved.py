"""Results that could not be uploaded, kept in the working directory until the same command uploads them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from hoir_ray.errors import StorageError
from hoir_ray.machine.cache import is_own, make_private
from hoir_ray.results.ledger import LEDGER, RecordError, is_record, key_of, parse_record, to_bytes
from hoir_ray.results.record import TrialRecord, progress
from hoir_ray.storage import MissingObjectError, Storage, open_storage

UNSAVED = "hoir-unsaved"


def unsaved_folder(storage: Storage, *, sweep: str) -> Path:
    """Folder of a sweep's unsaved results; one for each storage that has a sweep of this name."""
    return Path.cwd() / UNSAVED / f"{sweep}-{hashlib.sha256(storage.uri.encode()).hexdigest()[:8]}"


def keep_records(records: Iterable[TrialRecord], *, folder: Path) -> None:
    """Put records aside.

    Raises:
        StorageError: If the folder cannot be written either.
    """
    if not (make_private(folder.parent) and make_private(folder)):
        raise StorageError(f"{folder}: is a link or another user's, so nothing is kept there; remove it")
    local = open_storage(str(folder))
    for record in records:
        local.put(key_of(record), to_bytes(record))


def upload_unsaved(folder: Path, storage: Storage) -> list[str]:
    """Save what was put aside, and remove it here; returns the keys. Records that storage has newer are left out.

    Raises:
        StorageError: If storage still does not take it, or something in the folder is a link or another user's; what is
            left stays in the folder.
    """
    local = open_storage(str(folder))
    keys = [o.key for o in local.list() if not o.key.startswith(f"{LEDGER}/") or is_record(o.key)]
    for path in (folder.parent, folder, *folder.rglob("*")):
        if not is_own(path):
            raise StorageError(f"{path}: is a link or another user's, so nothing of {folder} is saved; remove it")
    # Manifests after what they vouch for, records after the models that they name.
    keys.sort(key=lambda key: (key.startswith(f"{LEDGER}/"), key.endswith("manifest.json")))
    for key in keys:
        data = local.get(key)
        if not key.startswith(f"{LEDGER}/") or _is_newer(data, storage, key):
            storage.put(key, data)
    shutil.rmtree(folder, ignore_errors=True)
    return keys


def _is_newer(data: bytes, storage: Storage, key: str) -> bool:
    """Return whether a record is to be saved: over an unreadable one too, but never over one of a newer version."""
    ours = parse_record(data, name=f"{UNSAVED}: {key}")
    try:
        there = parse_record(storage.get(key), name=f"{storage.uri}/{key}")
    except MissingObjectError:
        return True
    except RecordError as error:
        return not error.is_newer
    return progress(ours) > progress(there)
