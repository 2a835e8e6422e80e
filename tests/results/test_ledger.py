"""The ledger, its snapshot, and what is put aside when storage does not take it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from hoir_ray.errors import RequestError
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


@pytest.mark.parametrize(
    "stray",
    [
        "ledger/t0001.sync-conflict-20260101-120000-ABCDEFG.json",
        "ledger/t0001 (ada's conflicted copy 2026-01-01).json",
        "ledger/t0001-lab.json",
        "ledger/._t0001.json",
        "ledger/t0001.json.bak",
        "ledger/copy/t0001.json",
        "ledger/snapshot (1).jsonl",
        "ledger/notes.json",
    ],
)
@pytest.mark.parametrize("content", [to_bytes(record(1, "created")), b"\0\5\26\7", b""])
def test_only_objects_named_as_records_are(storage, stray, content, caplog):
    ledger = Ledger(storage)
    ledger.save(record(1, "created", "started", "ended"))
    storage.put(stray, content)
    assert [(r.trial, len(r.history)) for r in ledger.load()] == [("t0001", 3)]
    assert caplog.text == ""


def test_a_record_agrees_with_its_name(storage, caplog):
    ledger = Ledger(storage)
    ledger.save(record(1, "created"))
    storage.put("ledger/t0002.json", to_bytes(record(1, "created", "copied")))
    storage.put("ledger/t00001.json", to_bytes(record(1, "created", "copied")))
    assert [(r.trial, len(r.history)) for r in ledger.load()] == [("t0001", 1)]
    assert "ledger/t0002.json: holds the record of t0001, number 1; this trial is left out" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b'{"trial": "t0002"}', b"null"])
def test_a_damaged_record_costs_its_trial_and_no_other(storage, damage, caplog):
    ledger = Ledger(storage)
    ledger.save(record(1, "created"))
    storage.put("ledger/t0002.json", damage)
    assert [r.trial for r in ledger.load()] == ["t0001"]
    assert "ledger/t0002.json: not a trial record" in caplog.text
    ledger.save_snapshot([record(1, "created"), record(2, "created")])
    assert [r.trial for r in ledger.load()] == ["t0001", "t0002"]
    assert "an earlier version of it counts" in caplog.text


def test_a_damaged_line_of_the_snapshot_costs_no_other(storage):
    ledger = Ledger(storage)
    ledger.save_snapshot([record(1, "created"), record(2, "created")])
    storage.put("ledger/snapshot.jsonl", storage.get("ledger/snapshot.jsonl") + b'\n{"trial": "t0003"')
    assert [r.trial for r in ledger.load()] == ["t0001", "t0002"]


def test_a_newer_version_is_said_to_be_one_and_never_resumed(storage, caplog):
    ledger = Ledger(storage)
    ledger.save(record(1, "created"))
    newer = json.loads(to_bytes(record(2, "created"))) | {"energy_j": 7.0}
    storage.put("ledger/t0002.json", json.dumps(newer).encode())
    assert [r.trial for r in ledger.load()] == ["t0001"]
    assert "t0002.json: written by a newer version of hoir_ray (energy_j is not known to" in caplog.text
    with pytest.raises(RequestError, match=r"t0002\.json: written by a newer version"):
        ledger.load(to_resume=True)


@pytest.mark.parametrize("age_s", [-86_400, 86_400])
def test_what_counts_is_progress_and_not_the_time_of_a_file(storage, age_s):
    ledger = Ledger(storage)
    ledger.save_snapshot([record(1, "created").change("started", state="RUNNING"), record(2, "created")])
    ledger.save(record(1, "created").change("started", state="RUNNING").change("ended", state="FINISHED"))
    ledger.save(record(2))
    snapshot = Path(storage.uri) / "ledger" / "snapshot.jsonl"
    os.utime(snapshot, (time.time() + age_s, time.time() + age_s))
    assert [(r.state, len(r.history)) for r in ledger.load()] == [("FINISHED", 3), ("PENDING", 1)]


def test_objects_that_the_snapshot_holds_are_not_read_again(storage, monkeypatch):
    ledger = Ledger(storage)
    records = [record(n, "created").change("ended", state="FINISHED") for n in range(1, 40)] + [record(40, "created")]
    for each in records:
        ledger.save(each)
    ledger.save_snapshot(records)
    ledger.save(records[4].change("model removed", model=None))
    read = []
    get = Storage.get
    monkeypatch.setattr(Storage, "get", lambda self, key: read.append(key) or get(self, key))
    assert len(ledger.load()[4].history) == 3
    assert sorted(read) == ["ledger/snapshot.jsonl", "ledger/t0005.json", "ledger/t0040.json"]


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
