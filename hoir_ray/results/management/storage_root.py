"""All sweeps of a storage root: a row for each, whatever state it is in, and read again only where it has changed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from hoir_ray.config import nearest
from hoir_ray.errors import HoirError, RequestError, SpecError
from hoir_ray.results.ledger import LEDGER, Ledger, RecordError
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.ranking import ranked
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.summary import BEST
from hoir_ray.results.sweep_results import SPEC, SweepResults, read_spec
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.storage import Lease, Storage, StoredObject, open_storage, read_lease
from hoir_ray.storage.lock import LEFT, LOCK

SweepState = Literal["running", "stopped", "finished", "failed", "broken", "newer"]
SWEEPS_AT_A_TIME, RECORDS_AT_A_TIME = 6, 5  # of which the product is about what one S3 client answers at once


@dataclass(frozen=True, kw_only=True)
class SweepEntry:
    """A sweep as a list shows it.

    Attributes:
        name: Of its folder below the root, which nobody has checked.
        uri: The address that opens it.
        state: `running` while its lock is held; `stopped` where trials are left to train, and the same command resumes
            it; `failed` where no trial has a result; `broken` or `newer` where it cannot be read here.
        problem: Why it is broken, or what of it could not be read; empty where all is well.
        trials: State of trials -> their number.
        best: Value of `metric` of the best trial, and `best_trial` its name; None where none has finished.
        size_bytes: Of everything below its folder.
        owner: Who runs it, or ran it last, on `host`; both empty where that is not known.
        lease_s: Until the lock's lease ends, in seconds; None where it is not held or has no end.
        started_at: When its first trial was made, in UTC, as ISO 8601; `changed_at` is of the last object written.
        picture: Key of the best trial's picture below the sweep.
    """

    name: str
    uri: str
    state: SweepState
    problem: str = ""
    task: str = ""
    trials: Mapping[str, int] = field(default_factory=dict)
    max_trials: int | None = None
    metric: str = ""
    goal: str = ""
    best: float | None = None
    best_trial: str | None = None
    size_bytes: int = 0
    owner: str = ""
    host: str = ""
    lease_s: float | None = None
    started_at: str | None = None
    changed_at: str | None = None
    picture: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The entry as plain values, for JSON."""
        return asdict(self)


def list_sweeps(uri: str, *, endpoint_url: str | None = None) -> list[SweepEntry]:
    """List the sweeps below a folder or `s3://bucket/prefix`, the one that changed last first.

    A sweep that is broken, or of a newer version, is a row that says so; one that is deleted meanwhile is none.

    Raises:
        RequestError: If the address is not one of the two, or is that of a sweep itself.
        StorageError: If the root cannot be listed.
    """
    return StorageRoot(open_storage(uri, endpoint_url=endpoint_url)).sweeps()


@dataclass(frozen=True)
class _Known:
    version: tuple[tuple[str, int, datetime], ...]
    results: SweepResults | HoirError
    problems: tuple[RecordError, ...] = ()


class StorageRoot:
    """A folder of sweeps, in a file system or a bucket. May be asked by several threads.

    Args:
        storage: Of the root.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def sweeps(self) -> list[SweepEntry]:
        """List them as `list_sweeps` does; ledgers that have not changed since the last time are not read again."""
        names = self.storage.folders()
        if not names and self.storage.exists(SPEC):
            raise RequestError(f"{self.storage.uri}: is a sweep itself; name the folder that holds it")
        with ThreadPoolExecutor(SWEEPS_AT_A_TIME, thread_name_prefix="hoir-sweeps") as pool:
            entries = [e for e in pool.map(self._entry, names) if e is not None]
        with self._lock:
            for name in self._known.keys() - {e.name for e in entries}:
                del self._known[name]
        return sorted(entries, key=lambda e: (e.changed_at or "", e.name), reverse=True)

    def open(self, name: str) -> SweepResults:
        """The sweep of that name.

        Raises:
            RequestError: If there is none, naming the nearest, or its spec is not one.
            StorageError: If it cannot be read.
        """
        storage = self.storage.child(name)
        known = self._read(name, storage, storage.list())
        if known is None:
            raise RequestError(f"{self.storage.uri} has no sweep '{name}'.{nearest(name, self.storage.folders())}")
        if isinstance(known.results, HoirError):
            raise known.results
        return known.results

    def _entry(self, name: str) -> SweepEntry | None:
        try:
            storage = self.storage.child(name)
            objects = storage.list()
            known = self._read(name, storage, objects)
            lease = read_lease(storage) if any(o.key == LOCK for o in objects) else None
        except HoirError as error:
            return SweepEntry(name=name, uri=f"{self.storage.uri}/{name}", state="broken", problem=str(error))
        return None if known is None else _entry_of(name, storage, known, objects=objects, lease=lease)

    def _read(self, name: str, storage: Storage, objects: Sequence[StoredObject]) -> _Known | None:
        """Read a sweep's spec and ledger, unless no object of them has changed; None where there is no sweep."""
        version = tuple((o.key, o.size_bytes, o.modified) for o in objects if _counts(o.key))
        if not version:
            return None
        with self._lock:
            known = self._known.get(name)
        if known is None or known.version != version:
            known = _read_sweep(storage, version)
            if known is not None:
                with self._lock:
                    self._known[name] = known
        return known


def _counts(key: str) -> bool:
    return key == SPEC or key.startswith(f"{LEDGER}/")


def _read_sweep(storage: Storage, version: tuple[tuple[str, int, datetime], ...]) -> _Known | None:
    try:
        spec = read_spec(storage)
        if spec is None and not storage.list(LEDGER):
            return None  # deleted since it was listed
        if spec is None:
            return _Known(version, RequestError(f"it has trials and no {SPEC}"))
        records, problems = Ledger(storage).read(num_readers=RECORDS_AT_A_TIME)
    except HoirError as error:
        return _Known(version, error)
    except (UnicodeDecodeError, RecursionError) as error:
        return _Known(version, SpecError(f"{storage.uri}/{SPEC}: is no YAML of a sweep ({type(error).__name__})"))
    return _Known(version, SweepResults(storage, spec, tuple(records)), tuple(problems.values()))


def _entry_of(
    name: str, storage: Storage, known: _Known, *, objects: Sequence[StoredObject], lease: Lease | None
) -> SweepEntry:
    common: dict[str, Any] = {
        "name": name,
        "uri": storage.uri,
        "size_bytes": sum(o.size_bytes for o in objects),
        "owner": lease.owner if lease else "",
        "host": lease.host if lease else "",
        "lease_s": lease.left_s if lease else None,
        "changed_at": _last_change(objects),
    }
    results = known.results
    if isinstance(results, HoirError):
        is_newer = "written by hoir_ray" in str(results)
        return SweepEntry(**common, state="newer" if is_newer else "broken", problem=str(results))
    records, spec = results.records, results.spec
    leaders = ranked(records, spec=spec)
    best = leaders[0] if leaders else None
    if lease is not None and lease.is_held:
        state: SweepState = "running"
    elif any(p.is_newer for p in known.problems):
        state = "newer"
    else:
        state = _state(records, spec, has_summary=any(o.key == BEST for o in objects))
    return SweepEntry(
        **common,
        state=state,
        problem=_say(known.problems),
        task=spec.task,
        trials=dict(sorted(Counter(r.state for r in records).items())),
        max_trials=spec.budget.max_trials,
        metric=spec.metric.name,
        goal=spec.metric.goal,
        best=metrics_of(best)[spec.metric.name] if best else None,
        best_trial=best.trial if best else None,
        started_at=min((r.created_at for r in records if r.created_at), default=None),
        picture=best.picture_key if best and any(o.key == best.picture_key for o in objects) else None,
    )


def _state(records: Sequence[TrialRecord], spec: SweepSpec, *, has_summary: bool) -> SweepState:
    """The state of a sweep that nobody runs; one that was ended in order has left its summary."""
    num_searched = sum(not r.is_replicate for r in records)
    is_complete = has_summary or (spec.budget.max_trials is not None and num_searched >= spec.budget.max_trials)
    if not records or not is_complete or any(not r.ended for r in records):
        return "stopped"
    return "failed" if all(r.failed for r in records) else "finished"


def _last_change(objects: Sequence[StoredObject]) -> str | None:
    moments = [o.modified for o in objects if o.key not in (LOCK, LEFT)]
    return max(moments).astimezone(UTC).isoformat(timespec="seconds") if moments else None


def _say(problems: Sequence[RecordError]) -> str:
    if not problems:
        return ""
    more = f"; and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{problems[0]}{more}"
