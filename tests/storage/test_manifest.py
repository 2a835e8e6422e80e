"""Folders count only with a manifest that their files match."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hoir_ray.errors import PackError, StorageError
from hoir_ray.storage import MissingObjectError, Storage
from tests.servers.s3_proxy import S3Proxy
from tests.storage.backends import impatient


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    folder = tmp_path / "pack"
    (folder / "pictures").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (folder / "config.json").write_text("{}")
    (folder / "pictures" / "preview.png").write_bytes(b"png")
    return folder


def test_folder_comes_back_identical(storage: Storage, pack: Path, tmp_path: Path) -> None:
    storage.put_folder("models/t1", pack)
    storage.get_folder("models/t1", tmp_path / "copy")
    for path in pack.rglob("*.*"):
        assert (tmp_path / "copy" / path.relative_to(pack)).read_bytes() == path.read_bytes()
    manifest = json.loads((tmp_path / "copy" / "manifest.json").read_text())
    assert sorted(manifest["files"]) == ["config.json", "model.safetensors", "pictures/preview.png"]
    assert not (pack / "manifest.json").exists()


def test_downloaded_folder_can_be_uploaded_again(storage: Storage, pack: Path, tmp_path: Path) -> None:
    storage.put_folder("a", pack)
    storage.get_folder("a", tmp_path / "copy")
    storage.put_folder("b", tmp_path / "copy")
    assert storage.get("a/manifest.json") == storage.get("b/manifest.json")


def test_without_manifest_it_does_not_count(storage: Storage, pack: Path, tmp_path: Path) -> None:
    storage.put_folder("models/t1", pack)
    storage.delete("models/t1/manifest.json")
    with pytest.raises(MissingObjectError, match=r"has no manifest.json, so it was never written completely"):
        storage.get_folder("models/t1", tmp_path / "copy")


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (lambda data: data[:100], "bytes where"),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], "sha256"),
        (lambda data: b"", "bytes where"),
        (lambda data: b"<html>503</html>", "bytes where"),
        (None, "is listed in manifest.json but missing"),
    ],
)
def test_damage_is_found_and_does_not_stay(
    storage: Storage, pack: Path, tmp_path: Path, damage: Callable[[bytes], bytes] | None, rule: str
) -> None:
    storage.put_folder("models/t1", pack)
    if damage is None:
        storage.delete("models/t1/model.safetensors")
    else:
        storage.put("models/t1/model.safetensors", damage(storage.get("models/t1/model.safetensors")))
    with pytest.raises(PackError, match=rule) as caught:
        storage.get_folder("models/t1", tmp_path / "copy")
    assert "model.safetensors" in str(caught.value)
    assert not (tmp_path / "copy" / "model.safetensors").exists()
    assert not (tmp_path / "copy" / "manifest.json").exists()


def test_broken_manifest_is_refused(storage: Storage, tmp_path: Path) -> None:
    evil = json.dumps({"files": {"../../evil": {"sha256": "0" * 64, "size_bytes": 1}}}).encode()
    short = b'{"files": {"a": {"sha256": "00", "size_bytes": 1}}}'
    for manifest in (b"", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000, short, evil):
        storage.put("models/t1/manifest.json", manifest)
        with pytest.raises(PackError, match=r"manifest.json is broken"):
            storage.get_folder("models/t1", tmp_path / "copy")


def test_upload_that_stops_midway_leaves_no_manifest(
    s3_proxy: S3Proxy, s3_folder: str, pack: Path, tmp_path: Path
) -> None:
    storage = impatient(s3_proxy, s3_folder)
    with s3_proxy.faulty("500", match="PUT .*preview"), pytest.raises(StorageError):
        storage.put_folder("models/t1", pack)
    with pytest.raises(MissingObjectError):
        storage.get_folder("models/t1", tmp_path / "copy")
    storage.put_folder("models/t1", pack)
    storage.get_folder("models/t1", tmp_path / "copy")


def test_local_folder_that_is_not_what_its_manifest_says_is_not_uploaded(storage: Storage, pack: Path) -> None:
    storage.put_folder("a", pack)
    (pack / "manifest.json").write_bytes(storage.get("a/manifest.json"))
    (pack / "config.json").write_text("changed")
    with pytest.raises(PackError, match=r"config.json: damaged; it has 7 bytes where manifest.json says 2"):
        storage.put_folder("b", pack)
    assert storage.list("b") == []
