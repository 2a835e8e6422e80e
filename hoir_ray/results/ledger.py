"""The ledger: one JSON object per trial in storage, the record from which everything else is rebuilt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from hoir_ray.errors import StorageError
from hoir_ray.results.record import TrialRecord, progress
from hoir_ray.storage import BackgroundUploader, MissingObjectError, Storage

LEDGER = "ledger"


SNAPSHOT = f"{LEDGER}/snapshot.jsonl"


CLOCK_TOLERANCE = timedelta(seconds=5)


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
        """Read all records, by number.

        Raises:
            StorageError: If one cannot be read or is not a record.
        """
        listed = {o.key: o.modified for o in self._storage.list(LEDGER)}
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
    """Key of a record in its sweep's storage."""
    return f"{LEDGER}/{record.trial}.json"


def to_bytes(record: TrialRecord) -> bytes:
    return record.model_dump_json(exclude_none=True).encode()
