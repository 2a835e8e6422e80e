"""The ledger: one JSON object per trial in storage, the record from which everything else is rebuilt."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError

from hoir_ray import __version__
from hoir_ray.errors import RequestError, StorageError
from hoir_ray.results.record import TrialRecord, progress
from hoir_ray.storage import BackgroundUploader, MissingObjectError, Storage, UnreadableObjectError

LEDGER = "ledger"


ATTEMPTS = 3
MAX_RECORD_BYTES = 2**26
SNAPSHOT = f"{LEDGER}/snapshot.jsonl"


_NAMED = re.compile(rf"{LEDGER}/t\d+\.json")
_log = logging.getLogger(__name__)


Creation = Callable[[], bool | None]
"""Tells whether a new number is ours: True, False where another trial has it, None as long as that is not known.

Raises StorageError if it could not be written.
"""


class Ledger:
    """Reads and writes trial records under `ledger/`.

    Beside the objects lies a snapshot of all records, so that a sweep of thousands of trials is read at once; an object
    counts instead when it knows more.

    Args:
        uploader: Takes the writing off the caller's hands; without one, every save waits for storage.
        is_ours: Asked before each write; once somebody else runs the sweep, nothing is written any more.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        uploader: BackgroundUploader | None = None,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._storage, self._uploader, self._is_ours = storage, uploader, is_ours
        # A folder answers at once; a bucket is not waited for.
        in_bucket = uploader is not None and storage.uri.startswith("s3://")
        self._creators = ThreadPoolExecutor(1, thread_name_prefix="hoir-numbers") if in_bucket else None

    def create(self, record: TrialRecord) -> Creation:
        """Write the record of a new trial, unless its number is taken; a call of the result tells how that went."""
        if self._creators is None:
            taken = self._create(record)
            return lambda: taken
        future = self._creators.submit(self._insist, record)
        return lambda: future.result() if future.done() else None

    def _insist(self, record: TrialRecord) -> bool:
        """Bear an outage as long as the uploader does."""
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(StorageError):
                return self._create(record)
        return self._create(record)

    def _create(self, record: TrialRecord) -> bool:
        key, data = key_of(record), to_bytes(record)
        if not self._is_ours():
            raise StorageError(f"{self._storage.uri}: somebody else runs this sweep now")
        # An answer may be lost after the object was written: then what is there is ours.
        return self._storage.put(key, data, if_absent=True) or self._storage.get(key) == data

    def save(self, record: TrialRecord) -> None:
        """Rewrite the trial's object whole."""
        self._put(key_of(record), [record])

    def save_snapshot(self, records: Iterable[TrialRecord]) -> None:
        """Rewrite the snapshot."""
        self._put(SNAPSHOT, list(records))

    def _put(self, key: str, records: Sequence[TrialRecord]) -> None:
        """Records never change, so they become bytes when it is their turn, and older versions need not at all."""

        def put() -> None:
            if self._is_ours():
                self._storage.put(key, b"\n".join(map(to_bytes, records)))

        if self._uploader is None:
            put()
        else:
            self._uploader.submit(key, put)

    def load(self, *, to_resume: bool = False) -> list[TrialRecord]:
        """Read all records, by number. What cannot be read costs its own trial and is warned of.

        Only objects named as records are, and agreeing with their names, count: file synchronisers and operating
        systems leave others beside them. Of two versions of a record the one with more progress counts, whatever the
        times of their files.

        Args:
            to_resume: Refuse a ledger with records of a newer version, which would be trained anew.

        Raises:
            StorageError: If storage cannot be read.
            RequestError: As said under `to_resume`.
        """
        records, problems = self.read()
        self._say(problems, {key_of(r): r for r in records}, to_resume=to_resume)
        return records

    def read(self, *, num_readers: int = 32) -> tuple[list[TrialRecord], dict[str, RecordError]]:
        """Read all records, by number, and what is wrong with objects that are none, by key.

        Args:
            num_readers: How many objects are read at a time.

        Raises:
            StorageError: If storage cannot be read.
        """
        sizes = {o.key: o.size_bytes for o in self._storage.list(LEDGER)}
        records, settled = self._load_snapshot() if SNAPSHOT in sizes else ({}, {})
        keys = [key for key, size in sizes.items() if is_record(key) and settled.get(key) != size]
        problems = {
            key: RecordError(
                f"{self._storage.uri}/{key}: has {sizes[key]:,} bytes, of {MAX_RECORD_BYTES:,} it may have"
            )
            for key in keys
            if sizes[key] > MAX_RECORD_BYTES
        }
        keys = [key for key in keys if key not in problems]
        with ThreadPoolExecutor(num_readers) as pool:
            for key, record in zip(keys, pool.map(self._read, keys), strict=True):
                if isinstance(record, RecordError):
                    problems[key] = record
                elif record is not None and (key not in records or progress(record) >= progress(records[key])):
                    records[key] = record
        return sorted(records.values(), key=lambda r: r.number), problems

    def _say(self, problems: Mapping[str, RecordError], records: Mapping[str, TrialRecord], *, to_resume: bool) -> None:
        newer = [problem for problem in problems.values() if problem.is_newer]
        if newer and to_resume:
            raise RequestError(f"{newer[0]}, or give this sweep another name")
        for key, problem in problems.items():
            instead = "an earlier version of it counts" if key in records else "this trial is left out"
            _log.warning("%s; %s", problem, instead)

    def _load_snapshot(self) -> tuple[dict[str, TrialRecord], dict[str, int]]:
        """Its records by key, and the size of each object that need not be read: of a trial that has ended.

        A record grows with all that happens to a trial, so that one of the same size is the same.
        """
        records, sizes = {}, {}
        try:
            lines = self._storage.get(SNAPSHOT).splitlines()
        except (MissingObjectError, UnreadableObjectError):  # the objects hold everything
            return {}, {}
        for line in lines:
            with contextlib.suppress(ValidationError):
                record = TrialRecord.model_validate_json(line)
                records[key_of(record)] = record
                if record.ended:
                    sizes[key_of(record)] = len(line)
        return records, sizes

    def _read(self, key: str) -> TrialRecord | RecordError | None:
        try:
            record = parse_record(self._storage.get(key), name=f"{self._storage.uri}/{key}")
        except MissingObjectError:  # deleted since it was listed
            return None
        except UnreadableObjectError as error:
            return RecordError(str(error))
        except RecordError as error:
            return error
        if key_of(record) != key or record.trial != trial_name(record.number):
            return RecordError(f"{self._storage.uri}/{key}: holds the record of {record.trial}, number {record.number}")
        return record


class RecordError(StorageError):
    """An object of the ledger is no record.

    Attributes:
        is_newer: Whether it is one of a newer version.
    """

    def __init__(self, message: str, *, is_newer: bool = False) -> None:
        super().__init__(message)
        self.is_newer = is_newer


def parse_record(data: bytes, *, name: str) -> TrialRecord:
    """A record from its JSON.

    Raises:
        RecordError: Saying what is wrong, and whether a newer version wrote it.
    """
    try:
        return TrialRecord.model_validate_json(data)
    except ValidationError as error:
        problems = error.errors()
        problem, where = problems[0], ".".join(map(str, problems[0]["loc"]))
        if all(p["type"] == "extra_forbidden" for p in problems):
            newer = f"{name}: written by a newer version of hoir_ray ({where} is not known to {__version__}); update it"
            raise RecordError(newer, is_newer=True) from None
        raise RecordError(f"{name}: not a trial record: {where} {problem['msg']}") from None


def is_record(key: str) -> bool:
    """Return whether an object of this key is a record."""
    return _NAMED.fullmatch(key) is not None


def trial_name(number: int) -> str:
    """Of the trial with this number; four digits, or as many as it takes."""
    return f"t{number:04d}"


def key_of(record: TrialRecord) -> str:
    """Key of a record in its sweep's storage."""
    return f"{LEDGER}/{record.trial}.json"


def to_bytes(record: TrialRecord) -> bytes:
    return record.model_dump_json(exclude_none=True).encode()
