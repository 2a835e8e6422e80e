"""Uploads in the background: order, replacement, bounds, failures and what stays on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoir_ray.errors import StorageError
from hoir_ray.storage import BackgroundUploader, Storage, open_storage
from tests.servers.s3_proxy import S3Proxy
from tests.storage.backends import impatient


def put(uploads: BackgroundUploader, key: str, data: bytes) -> None:
    uploads.submit(key, lambda: uploads._storage.put(key, data))


def test_everything_is_there_after_flush(storage: Storage, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "a").write_bytes(b"a")
    (tmp_path / "file").write_bytes(b"file")
    with BackgroundUploader(storage) as uploads:
        put(uploads, "bytes", b"1")
        uploads.put_file("file", tmp_path / "file", remove=True)
        uploads.put_folder("pack", folder, remove=True)
        uploads.flush()
        assert [o.key for o in storage.list()] == ["bytes", "file", "pack/a", "pack/manifest.json"]
        uploads.delete_all("pack")
    assert [o.key for o in storage.list()] == ["bytes", "file"]
    assert list(tmp_path.glob("pack")) == list(tmp_path.glob("file")) == []


def test_only_the_newest_version_is_uploaded(s3_proxy: S3Proxy, s3_folder: str, tmp_path: Path) -> None:
    storage = impatient(s3_proxy, s3_folder)
    with BackgroundUploader(storage) as uploads, s3_proxy.faulty("slow", match="/first$", seconds=0.5):
        put(uploads, "first", b"x")
        for version in range(20):
            path = tmp_path / f"v{version}"
            path.write_bytes(b"%d" % version)
            uploads.put_file("last.ckpt", path, remove=True)
    assert storage.get("last.ckpt") == b"19"
    assert len([r for r in s3_proxy.log if r.method == "PUT"]) <= 3
    assert list(tmp_path.glob("v*")) == []


def test_full_queue_makes_the_caller_wait(s3_proxy: S3Proxy, s3_folder: str) -> None:
    storage = impatient(s3_proxy, s3_folder)
    with BackgroundUploader(storage, max_queued=2) as uploads, s3_proxy.faulty("slow", seconds=0.1):
        for number in range(8):
            put(uploads, f"k{number}", b"x")
            assert len(uploads._queued) <= 2
    assert len(storage.list()) == 8


def test_failure_is_told_once_the_attempts_are_used_up(s3_proxy: S3Proxy, s3_folder: str) -> None:
    uploads = BackgroundUploader(impatient(s3_proxy, s3_folder), attempts=2, backoff_s=0.01)
    with s3_proxy.faulty("500", match="/bad$"):
        put(uploads, "bad", b"x")
        put(uploads, "good", b"x")
        with pytest.raises(StorageError, match="cannot write 'bad'"):
            uploads.flush()
        with pytest.raises(StorageError, match="cannot write 'bad'"):
            uploads.flush()
    assert len([r for r in s3_proxy.log if r.path.endswith("/bad")]) == 4
    put(uploads, "bad", b"y")
    uploads.close()
    with pytest.raises(StorageError, match="after the uploads were closed"):
        put(uploads, "late", b"x")


def test_flush_has_an_end(s3_proxy: S3Proxy, s3_folder: str) -> None:
    uploads = BackgroundUploader(impatient(s3_proxy, s3_folder))
    with s3_proxy.faulty("slow", seconds=0.9):
        put(uploads, "a", b"x")
        put(uploads, "b", b"x")
        with pytest.raises(StorageError, match=r"not uploaded after 0.1 s"):
            uploads.flush(timeout_s=0.1)
        uploads.close()


def test_unexpected_errors_do_not_end_the_thread(tmp_path: Path) -> None:
    uploads = BackgroundUploader(open_storage(str(tmp_path / "runs")), attempts=1)
    uploads.put_file("gone", tmp_path / "never written")
    put(uploads, "good", b"x")
    with pytest.raises(StorageError, match="gone"):
        uploads.close()
    assert (tmp_path / "runs" / "good").exists()


def test_thread_ends_with_close(tmp_path: Path) -> None:
    with BackgroundUploader(open_storage(str(tmp_path))) as uploads:
        put(uploads, "k", b"x")
    uploads._thread.join(5)
    assert not uploads._thread.is_alive()
