"""The ledger, its snapshot, and what is put aside when storage does not take it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoir_ray.results.ledger import Ledger, key_of, to_bytes
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.unsaved import keep_records, unsaved_folder, upload_unsaved
from hoir_ray.storage import Storage, open_storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "runs"))


def record(number: int, *events: str) -> TrialRecord:
    made = TrialRecord(trial=f"t{number:04d}", number=number, parameters={"a.b": number})
    for event in events:
        made = made.change(event)
    return made


def test_a_snapshot_and_what_came_after_it_are_the_ledger(storage):
    ledger = Ledger(storage)
    for number in (1, 2):
        ledger.save(record(number, "created"))
    ledger.save_snapshot([record(1, "created"), record(2, "created")])
    ledger.save(record(2, "created", "started"))
    ledger.save(record(3, "created"))
    assert [(r.trial, len(r.history)) for r in ledger.load()] == [("t0001", 1), ("t0002", 2), ("t0003", 1)]


def test_a_snapshot_that_is_newer_than_an_object_counts(storage):
    ledger = Ledger(storage)
    ledger.save(record(1, "created"))
    ledger.save_snapshot([record(1, "created", "started")])
    assert len(ledger.load()[0].history) == 2


def test_a_broken_snapshot_costs_nothing(storage):
    ledger = Ledger(storage)
    ledger.save(record(1, "created"))
    storage.put("ledger/snapshot.jsonl", b'{"trial": "t0001"')
    assert [r.trial for r in ledger.load()] == ["t0001"]


def test_what_was_put_aside_is_saved_once_and_overwrites_nothing_newer(storage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = unsaved_folder(storage, sweep="s")
    assert folder.is_relative_to(tmp_path / "hoir-unsaved")
    keep_records([record(1, "created", "ended"), record(2, "created")], folder=folder)
    (folder / "models" / "t0001").mkdir(parents=True)
    (folder / "models" / "t0001" / "manifest.json").write_text("{}")
    storage.put(key_of(record(1)), to_bytes(record(1, "created")))
    storage.put(key_of(record(2)), to_bytes(record(2, "created", "started elsewhere")))
    keys = upload_unsaved(folder, storage)
    assert keys[0] == "models/t0001/manifest.json"
    assert [len(r.history) for r in Ledger(storage).load()] == [2, 2]
    assert not folder.exists()
