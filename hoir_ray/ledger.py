"""The ledger: one JSON object per trial in storage, the record from which everything else is rebuilt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import ConfigDict, ValidationError

from hoir_ray.config import Config
from hoir_ray.errors import StorageError
from hoir_ray.spec import Scalar
from hoir_ray.storage import BackgroundUploader, MissingObjectError, Storage

State = Literal["PENDING", "RUNNING", "FINISHED", "PRUNED", "FAILED", "TIMEOUT", "OOM"]
ENDED: frozenset[State] = frozenset(("FINISHED", "PRUNED", "FAILED", "TIMEOUT", "OOM"))
FOLDER = "ledger"
SNAPSHOT = f"{FOLDER}/snapshot.jsonl"
CLOCK_TOLERANCE = timedelta(seconds=5)


def now() -> str:
    """The present moment, in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class TrialRecord(Config):
    """What is known of one trial.

    Attributes:
        trial: Its name, such as `t0012`; also its folder in storage.
        parameters: Dotted path -> value, as drawn.
        reason: Why it is in its state, for a person to read.
        attempt: How often it was started.
        charged: How many of its attempts ended by the trial's own fault.
        losses: How many ended because their machine was lost, which is nobody's fault.
        curve: One row per validated epoch: `epoch` and its metrics.
        best: The row of the best epoch by the sweep's first metric.
        replicate_of: The trial whose settings it runs again with another seed; such a trial is no part of the search.
        history: What happened to it, in order, each line with its time.
    """

    # NaN belongs into a curve: it is why a trial failed.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True)

    trial: str
    number: int
    parameters: dict[str, Scalar]
    state: State = "PENDING"
    reason: str = ""
    attempt: int = 0
    charged: int = 0
    losses: int = 0
    seed: int = 0
    replicate_of: str | None = None
    node: str = ""
    num_parameters: int | None = None
    batch_size: int | None = None
    curve: tuple[dict[str, float], ...] = ()
    best: dict[str, float] | None = None
    created_at: str = ""
    started_at: str | None = None
    ended_at: str | None = None
    error: str | None = None
    model: str | None = None
    history: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def epochs(self) -> int:
        """Epochs trained so far."""
        return int(self.curve[-1]["epoch"]) if self.curve else 0

    def change(self, event: str = "", **fields: object) -> TrialRecord:
        """A copy with `fields` changed and `event` written into its history."""
        if event:
            fields["history"] = (*self.history, f"{now()} {event}")
        return self.model_copy(update=fields)


class Ledger:
    """Reads and writes trial records under `ledger/`.

    Beside the objects lies a snapshot of all records, so that a sweep of thousands of trials is read at once; an object
    counts instead when it is newer.

    Args:
        uploader: Takes the writing off the caller's hands; without one, every save waits for storage.
    """

    def __init__(self, storage: Storage, *, uploader: BackgroundUploader | None = None) -> None:
        self._storage, self._uploader = storage, uploader

    def save(self, record: TrialRecord) -> None:
        """Rewrite the trial's object whole."""
        self._put(key_of(record), [record])

    def save_snapshot(self, records: Iterable[TrialRecord]) -> None:
        """Rewrite the snapshot."""
        self._put(SNAPSHOT, list(records))

    def _put(self, key: str, records: Sequence[TrialRecord]) -> None:
        """Records never change, so they become bytes when it is their turn, and older versions need not at all."""

        def put() -> None:
            self._storage.put(key, b"\n".join(map(to_bytes, records)))

        if self._uploader is None:
            put()
        else:
            self._uploader.submit(key, put)

    def load(self) -> list[TrialRecord]:
        """All records, by number.

        Raises:
            StorageError: If one cannot be read or is not a record.
        """
        listed = {o.key: o.modified for o in self._storage.list(FOLDER)}
        records = self._load_snapshot() if SNAPSHOT in listed else {}
        settled = listed[SNAPSHOT] - CLOCK_TOLERANCE if records else datetime.min.replace(tzinfo=UTC)
        keys = [
            key
            for key, modified in listed.items()
            if key.endswith(".json") and (modified >= settled or key not in records)
        ]
        with ThreadPoolExecutor(32) as pool:
            for key, record in zip(keys, pool.map(self._read, keys), strict=True):
                if key not in records or progress(record) >= progress(records[key]):
                    records[key] = record
        return sorted(records.values(), key=lambda r: r.number)

    def _load_snapshot(self) -> dict[str, TrialRecord]:
        try:
            records = [TrialRecord.model_validate_json(line) for line in self._storage.get(SNAPSHOT).splitlines()]
        except (ValidationError, MissingObjectError):
            return {}  # the objects hold everything
        return {key_of(r): r for r in records}

    def _read(self, key: str) -> TrialRecord:
        data = self._storage.get(key)
        try:
            return TrialRecord.model_validate_json(data)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"]))
            raise StorageError(f"{self._storage.uri}/{key}: not a trial record: {where} {problem['msg']}") from None


def key_of(record: TrialRecord) -> str:
    """Where a record lies in its sweep's storage."""
    return f"{FOLDER}/{record.trial}.json"


def to_bytes(record: TrialRecord) -> bytes:
    return record.model_dump_json(exclude_none=True).encode()


def progress(record: TrialRecord) -> tuple[int, int, int]:
    """Grows with every change of a record; of two versions, the one with more is the newer."""
    return (record.attempt, len(record.history), len(record.curve))


def better(value: float, than: float, *, goal: str) -> bool:
    return value > than if goal == "maximize" else value < than


def best_row(curve: Iterable[Mapping[str, float]], *, metric: str, goal: str) -> dict[str, float] | None:
    """The row of a curve in which `metric` is best; rows without it, or where it is NaN, do not count."""
    best: dict[str, float] | None = None
    for row in curve:
        value = row.get(metric)
        if value is not None and value == value and (best is None or better(value, best[metric], goal=goal)):
            best = dict(row)
    return best


def to_json(value: object) -> bytes:
    """Indented JSON with sorted keys kept in the order given, ending in a newline."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
