"""A trial's checkpoints in storage: trials resume from the newest good one, whatever happened to the others."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from hoir_ray.errors import StorageError
from hoir_ray.storage import BackgroundUploader, Storage, open_storage
from hoir_ray.trials.checkpoints import Checkpoints
from tests.servers.s3_proxy import S3Proxy
from tests.storage.backends import impatient

FOLDER = "trials/t1/checkpoints"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "runs"))


def write(storage: Storage, tmp_path: Path, *epochs: int, attempt: int = 1) -> Checkpoints:
    checkpoints = Checkpoints(storage, trial="t1", attempt=attempt)
    with BackgroundUploader(storage) as uploader:
        for epoch in epochs:
            torch.save({"epoch": epoch}, tmp_path / "last.ckpt")
            curve = [{"epoch": float(e), "val_loss": 1.0 / e} for e in range(1, epoch + 1)]
            checkpoints.save(uploader, tmp_path / "last.ckpt", epoch=epoch, curve=curve)
            uploader.flush()
    return checkpoints


def fetch(storage: Storage, tmp_path: Path, *, attempt: int = 2) -> tuple[int | None, list[str]]:
    path = tmp_path / "fetched.ckpt"
    resumed = Checkpoints(storage, trial="t1", attempt=attempt).fetch(path)
    epoch = torch.load(path, weights_only=True)["epoch"] if path.exists() else None
    path.unlink(missing_ok=True)
    assert epoch == (resumed.curve[-1]["epoch"] if resumed.curve else None)
    return epoch, resumed.notes


def names(storage: Storage) -> list[str]:
    return sorted({o.key.split("/")[3] for o in storage.list(FOLDER)})


def test_two_are_kept_and_one_after_the_end(storage, tmp_path):
    checkpoints = write(storage, tmp_path, 1, 2, 3, 4)
    assert names(storage) == ["a001-e0000003", "a001-e0000004"]
    assert fetch(storage, tmp_path) == (4, [])
    checkpoints.keep_newest()
    assert names(storage) == ["a001-e0000004"]


def replace(storage: Storage, key: str, data: bytes, *, with_manifest: bool = False) -> None:
    storage.put(key, data)
    if with_manifest:
        folder = key.rpartition("/")[0]
        manifest = json.loads(storage.get(f"{folder}/manifest.json"))
        manifest["files"][key.rpartition("/")[2]] = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": len(data),
        }
        storage.put(f"{folder}/manifest.json", json.dumps(manifest).encode())


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda data: b"",
        lambda data: b"<html>503 Service Unavailable</html>",
    ],
    ids=["truncated", "flipped", "empty", "html"],
)
def test_a_damaged_newest_one_is_passed_over_and_said(storage, tmp_path, damage):
    write(storage, tmp_path, 1, 2)
    key = f"{FOLDER}/a001-e0000002/last.ckpt"
    replace(storage, key, damage(storage.get(key)))
    epoch, notes = fetch(storage, tmp_path)
    assert epoch == 1
    assert "a001-e0000002 passed over" in notes[0]


@pytest.mark.parametrize("curve", [b"nonsense", b"{}", b'[{"epoch": "x"}]', b'[{"epoch": 99}]', b"[7]"])
def test_a_curve_that_is_none_is_passed_over(storage, tmp_path, curve):
    write(storage, tmp_path, 1, 2)
    replace(storage, f"{FOLDER}/a001-e0000002/curve.json", curve, with_manifest=True)
    assert fetch(storage, tmp_path)[0] == 1


def test_half_an_upload_does_not_count(storage, tmp_path):
    write(storage, tmp_path, 1, 2)
    storage.delete(f"{FOLDER}/a001-e0000002/manifest.json")
    assert fetch(storage, tmp_path)[0] == 1


class Bomb:
    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self):
        return os.system, (f"touch {self.sign}",)


@pytest.mark.parametrize("force", ["0", "1"])
def test_a_checkpoint_that_runs_code_is_not_run(storage, tmp_path, monkeypatch, force):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", force)
    write(storage, tmp_path, 1, 2)
    torch.save({"epoch": 2, "bomb": Bomb(tmp_path / "exploded")}, tmp_path / "evil.ckpt")
    key = f"{FOLDER}/a001-e0000002/last.ckpt"
    replace(storage, key, (tmp_path / "evil.ckpt").read_bytes(), with_manifest=True)
    assert fetch(storage, tmp_path)[0] == 1
    replace(storage, key, pickle.dumps(Bomb(tmp_path / "exploded")), with_manifest=True)
    assert fetch(storage, tmp_path)[0] == 1
    assert not (tmp_path / "exploded").exists()


def test_what_a_cut_off_attempt_still_writes_is_not_the_newest(storage, tmp_path):
    write(storage, tmp_path, 1, 2, attempt=1)
    write(storage, tmp_path, 3, attempt=2)
    write(storage, tmp_path, 9, attempt=1)
    assert fetch(storage, tmp_path, attempt=3)[0] == 3


def test_unreachable_storage_is_no_broken_checkpoint(s3_proxy: S3Proxy, s3_bucket: str, tmp_path):
    storage = impatient(s3_proxy, s3_bucket)
    write(storage, tmp_path, 1)
    with s3_proxy.faulty("503", match="GET .*last.ckpt"), pytest.raises(StorageError, match="SlowDown"):
        fetch(storage, tmp_path)
    assert fetch(storage, tmp_path)[0] == 1


def test_one_that_is_still_queued_makes_room_for_a_newer_one(s3_proxy: S3Proxy, s3_bucket: str, tmp_path):
    storage = impatient(s3_proxy, s3_bucket)
    checkpoints = Checkpoints(storage, trial="t1", attempt=1)
    with BackgroundUploader(storage) as uploader:
        with s3_proxy.faulty("slow", match="PUT", seconds=0.5, times=1):
            for epoch in (1, 2, 3, 4):
                torch.save({"epoch": epoch}, tmp_path / "last.ckpt")
                checkpoints.save(uploader, tmp_path / "last.ckpt", epoch=epoch, curve=[{"epoch": float(epoch)}])
        uploader.flush()
    assert names(storage)[-1] == "a001-e0000004"
    assert len(names(storage)) == 2
    assert not list(tmp_path.glob("upload-*"))
