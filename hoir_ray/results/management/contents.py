"""Contents of a sweep's folder: the objects that sweeps write, told from those that somebody else has put there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hoir_ray.errors import RequestError, SpecError
from hoir_ray.results.ledger import LEDGER, is_record
from hoir_ray.results.record import MODELS
from hoir_ray.results.summary import BEST, CODECS, TABLE
from hoir_ray.results.sweep_results import SPEC
from hoir_ray.spec.document import parse_document
from hoir_ray.storage import MissingObjectError, Storage, StoredObject, read_lease
from hoir_ray.storage.lock import LEFT, LOCK

WARM_START = "warm_start.json"
SHEET = "codecs.png"  # other codecs beside the best network
COPIED = "copied.json"  # in a copy: of which sweep
TRACKERS, TRIALS = "trackers", "trials"
FOLDERS = (LEDGER, MODELS, TRIALS, TRACKERS)
FILES = (SPEC, BEST, TABLE, WARM_START, SHEET, CODECS, COPIED, LOCK, LEFT)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Objects of a sweep's folder.

    Attributes:
        own: Those that sweeps write.
        foreign: All others.
    """

    own: tuple[StoredObject, ...]
    foreign: tuple[StoredObject, ...]

    @property
    def size_bytes(self) -> int:
        """Of the sweep's own objects."""
        return sum(o.size_bytes for o in self.own)

    @property
    def num_trials(self) -> int:
        """Trials with a record."""
        return sum(is_record(o.key) for o in self.own)


def contents_of(storage: Storage) -> Contents:
    """List the folder of a sweep, broken ones and those that are half removed included.

    Raises:
        RequestError: If there is nothing, or what there is is no sweep.
        StorageError: If it cannot be listed.
    """
    if storage.folder is not None and storage.folder.is_symlink():
        raise RequestError(f"{storage.uri}: is a link; name the folder that it leads to")
    objects = storage.list()
    if not objects:
        raise RequestError(f"no sweep at {storage.uri}: there is nothing")
    if not _is_sweep(storage, objects):
        raise RequestError(f"{storage.uri}: is not a sweep's folder: it has neither a sweep's {SPEC} nor its trials")
    own = tuple(o for o in objects if is_own(o.key))
    return Contents(own=own, foreign=tuple(o for o in objects if not is_own(o.key)))


def refuse_running(storage: Storage, *, advice: str) -> None:
    """Refuse a sweep that somebody runs, as far as can be told without waiting.

    Raises:
        RequestError: Naming who runs it; ends with `advice`.
    """
    lease = read_lease(storage)
    if lease is not None and lease.is_held:
        raise RequestError(f"{storage.uri}: is run by {lease.owner} on {lease.host} since {lease.since}; {advice}")


def is_own(key: str) -> bool:
    """Return whether sweeps write an object under this key."""
    return key in FILES or key.partition("/")[0] in FOLDERS


def _is_sweep(storage: Storage, objects: Sequence[StoredObject]) -> bool:
    """Return whether anything there can only be a sweep's: a record, a spec, or the lock, which is removed last."""
    if any(is_record(o.key) for o in objects):
        return True
    lease = read_lease(storage)
    if lease is not None and lease.host:
        return True
    try:
        document = parse_document(storage.get(SPEC).decode(), name=SPEC)
    except (MissingObjectError, SpecError, UnicodeDecodeError, RecursionError):
        return False
    return {"name", "task", "parameters"} <= document.data.keys()
