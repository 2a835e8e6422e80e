"""Lists of sweeps, over a folder and over a real S3 server."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from hoir_ray.errors import RequestError
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.management.storage_root import StorageRoot, list_sweeps
from hoir_ray.results.sweep_results import SPEC
from hoir_ray.storage import Storage, acquire_lock, open_storage, read_lease
from tests.report.made import SINGLE, made_record, made_sweep
from tests.servers.seaweedfs import SeaweedFS


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return open_storage(str(tmp_path / "runs"))
    server: SeaweedFS = request.getfixturevalue("s3_server")
    return open_storage(f"s3://{request.getfixturevalue('s3_folder')}", endpoint_url=server.endpoint_url)


def make(root: Storage, name: str, *, numbers: range = range(1, 7), text: str = SINGLE) -> Storage:
    storage = root.child(name)
    storage.put(SPEC, text.encode())
    for number in numbers:
        Ledger(storage).save(made_record(number))
    return storage


def test_every_state_is_a_row(root: Storage) -> None:
    make(root, "stopped")
    finished_storage = make(root, "finished", numbers=range(1, 3))
    finished_storage.put("best.json", b"{}")
    finished_storage.put(made_record(1).picture_key, b"a picture")
    make(root, "broken", text="name: [")
    make(root, "newer", text=SINGLE + "teleport: yes\nprovenance: {hoir-ray: 99.0.0}\n")
    newer_record = make(root, "newer-record", numbers=range(1, 2))
    record = json.loads(newer_record.get("ledger/t0001.json"))
    newer_record.put("ledger/t0002.json", json.dumps({**record, "trial": "t0002", "teleport": 1}).encode())
    root.child("nospec").put("ledger/t0001.json", b"{}")
    root.put("inputs/abc/photo.png", b"no sweep")
    running = make(root, "running")
    with acquire_lock(running, owner="ada@here"):
        rows = {e.name: e for e in StorageRoot(root).sweeps()}
    assert {name: e.state for name, e in rows.items()} == {
        "stopped": "stopped",
        "finished": "finished",
        "broken": "broken",
        "newer": "newer",
        "newer-record": "newer",
        "nospec": "broken",
        "running": "running",
    }
    assert rows["running"].owner == "ada@here"
    assert 0 < (rows["running"].lease_s or 0) <= 60
    assert "99.0.0" in rows["newer"].problem
    assert "t0002" in rows["newer-record"].problem
    assert "no spec.yaml" in rows["nospec"].problem
    finished = rows["finished"]
    assert finished.trials == {"FINISHED": 1, "PRUNED": 1}
    assert (finished.task, finished.metric, finished.best_trial) == ("image", "val_psnr_db", "t0001")
    assert finished.best == max(r.best["val_psnr_db"] for r in [made_record(1)] if r.best)
    stored = root.child("finished")
    assert finished.size_bytes == sum(o.size_bytes for o in stored.list())
    assert finished.picture == made_record(1).picture_key


def test_a_root_that_is_empty_missing_or_a_sweep(root: Storage) -> None:
    assert StorageRoot(root).sweeps() == []
    make(root, "one")
    assert [e.name for e in StorageRoot(root).sweeps()] == ["one"]
    root.child("lone").put(SPEC, SINGLE.encode())
    with pytest.raises(RequestError, match="is a sweep itself"):
        StorageRoot(root.child("lone")).sweeps()


def test_changes_are_seen_and_what_is_the_same_is_not_read_again(root: Storage) -> None:
    storage = make(root, "a", numbers=range(1, 3))
    make(root, "b", numbers=range(1, 3))
    listed = StorageRoot(root)
    before = listed.open("b")
    assert {e.name: sum(e.trials.values()) for e in listed.sweeps()} == {"a": 2, "b": 2}
    assert listed.open("b") is before
    Ledger(storage).save(made_record(3))
    assert {e.name: sum(e.trials.values()) for e in listed.sweeps()} == {"a": 3, "b": 2}
    root.delete_all("a")
    assert [e.name for e in listed.sweeps()] == ["b"]
    with pytest.raises(RequestError, match="has no sweep 'a'"):
        listed.open("a")


def test_a_lease_is_read_without_waiting(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path)).child("s")
    assert read_lease(storage) is None
    with acquire_lock(storage, owner="me") as lock:
        claim = json.loads(storage.get("lock.json"))
        lock.release()
        storage.put("lock.json", json.dumps({**claim, "machine": "another", "expires": time.time() - 5}).encode())
        started = time.monotonic()
        lease = read_lease(storage)
    assert time.monotonic() - started < 5  # a third of the lease is what acquire_lock would watch for
    assert lease is not None
    assert (lease.is_held, lease.left_s, lease.owner) == (False, None, "me")


def test_names_that_storage_does_not_take_are_broken_rows(tmp_path: Path) -> None:
    (tmp_path / "bad\nname").mkdir()
    made_sweep(tmp_path, num_trials=3)
    rows = {e.name: e.state for e in list_sweeps(str(tmp_path))}
    assert rows == {"bad\nname": "broken", "made": "finished"}


def test_the_command_prints_a_table_and_json(hoir, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    assert "no sweep in" in hoir("sweeps", str(folder)).out
    made_sweep(folder, num_trials=3)
    storage = open_storage(str(folder))
    make(storage, "x[red]y[31m")
    storage.child("broken").put(SPEC, b"name: [")
    table = hoir("sweeps", str(folder)).out
    assert "x[red]y[31m" in table
    assert "broken: " in table
    listed = json.loads(hoir("sweeps", str(folder), "--json").out)
    assert {e["name"]: e["state"] for e in listed} == {"made": "finished", "x[red]y[31m": "stopped", "broken": "broken"}


@pytest.mark.parametrize("name", ["..", ".", "", "../inner", "a\\b", "a\0b"])
def test_a_name_leads_to_nothing_outside(root: Storage, name: str) -> None:
    make(root, "inner")
    inner = StorageRoot(root.child("inner"))
    with pytest.raises(RequestError, match=r"storage (key|name)"):
        inner.open(name)
