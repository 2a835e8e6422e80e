"""Sweeps copied and removed, over folders and a real S3 server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoir_ray.errors import RequestError, StorageError
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.moving import COPYING, copy_sweep, remove_sweep
from hoir_ray.results.sweep_results import open_sweep
from hoir_ray.storage import LockedError, Storage, acquire_lock, open_storage
from tests.report.made import SINGLE, made_record, made_sweep
from tests.servers.s3_proxy import S3Proxy
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.backends import impatient


@pytest.fixture
def made(tmp_path: Path) -> Storage:
    storage = made_sweep(tmp_path / "runs", num_trials=6, text=SINGLE).storage
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "weights").write_bytes(bytes(100_000))
    storage.put_folder("models/t0001-abc", pack)
    with acquire_lock(storage, owner="me"):
        pass
    return storage


@pytest.fixture(params=["local", "s3"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return open_storage(str(tmp_path / "elsewhere" / "copied"))
    server: SeaweedFS = request.getfixturevalue("s3_server")
    folder = request.getfixturevalue("s3_folder")
    return open_storage(f"s3://{folder}/copied", endpoint_url=server.endpoint_url)


def contents(storage: Storage) -> dict[str, bytes]:
    return {o.key: storage.get(o.key) for o in storage.list() if not o.key.startswith("lock")}


def test_a_copy_is_the_sweep_under_another_name(made: Storage, target: Storage, tmp_path: Path) -> None:
    shown: list[tuple[int, int]] = []
    sent = copy_sweep(made, target, show=lambda what, done, total: shown.append((done, total)))
    assert contents(target) == contents(made)
    assert sent == sum(map(len, contents(made).values())) == shown[-1][0] == shown[-1][1]
    assert open_sweep(target).spec.name == "copied"
    back = open_storage(str(tmp_path / "back"))
    copy_sweep(target, back)
    assert contents(back) == contents(made)
    remove_sweep(target, owner="me")
    assert target.list() == []


def test_an_interrupted_copy_goes_on(made: Storage, s3_proxy: S3Proxy, s3_folder: str) -> None:
    target = impatient(s3_proxy, s3_folder)
    with s3_proxy.faulty("500", match="PUT .*manifest.json"), pytest.raises(StorageError):
        copy_sweep(made, target)
    there = {o.key for o in target.list()}
    assert "spec.yaml" not in there
    assert {COPYING, "models/t0001-abc/weights"} <= there
    with pytest.raises(RequestError, match="no sweep"):
        open_sweep(target)
    record = made_record(3).model_copy(update={"reason": "another of the same length"[: len(made_record(3).reason)]})
    Ledger(made).save(record)
    s3_proxy.log.clear()
    copy_sweep(made, target)
    assert contents(target) == contents(made)
    assert not [r for r in s3_proxy.log if r.method == "PUT" and r.path.endswith("weights")]


def test_a_copy_is_laid_over_nothing(made: Storage, tmp_path: Path) -> None:
    other = made_sweep(tmp_path / "other", num_trials=3, text=SINGLE).storage
    before = contents(other)
    with pytest.raises(RequestError, match="is in use"):
        copy_sweep(made, other)
    assert contents(other) == before
    begun = open_storage(str(tmp_path / "begun"))
    begun.put(COPYING, json.dumps({"from": "elsewhere"}).encode())
    with pytest.raises(RequestError, match="interrupted copy of another sweep"):
        copy_sweep(made, begun)
    remove_sweep(begun, owner="me")


def test_what_runs_is_neither_copied_nor_removed(made: Storage, tmp_path: Path) -> None:
    before = contents(made)
    with acquire_lock(made, owner="ada@here"):
        with pytest.raises(RequestError, match="ada@here runs it"):
            copy_sweep(made, open_storage(str(tmp_path / "copied")))
        with pytest.raises(LockedError, match="ada@here"):
            remove_sweep(made, owner="me")
    assert contents(made) == before


def test_an_interrupted_removal_is_repeated(made: Storage, s3_proxy: S3Proxy, s3_folder: str) -> None:
    target = impatient(s3_proxy, s3_folder)
    copy_sweep(made, target)
    with s3_proxy.faulty("500", match="POST .*delete"), pytest.raises(StorageError):
        remove_sweep(target, owner="me")
    assert target.exists("spec.yaml")
    remove_sweep(target, owner="me")
    assert target.list() == []


def test_a_folder_that_is_no_sweep_stays(tmp_path: Path, hoir) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"a")
    result = hoir("remove", str(tmp_path / "photos"), "--yes")
    assert result.code == 2
    assert "no sweep" in result.err
    assert (tmp_path / "photos" / "a.jpg").exists()


def test_the_commands(made: Storage, tmp_path: Path, hoir) -> None:
    assert hoir("copy", made.uri, str(tmp_path / "copied")).code == 0
    asked = hoir("remove", made.uri)
    assert asked.code == 2
    assert f"hoir remove {made.uri} --yes" in asked.err
    assert "files" in asked.err
    assert made.exists("spec.yaml")
    removed = hoir("remove", made.uri, "--yes")
    assert (removed.code, made.list()) == (0, [])
    assert "freed" in removed.out
    assert open_sweep(str(tmp_path / "copied")).records
