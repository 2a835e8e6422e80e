"""Folders that cannot be written, are full, or hold links."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.queues
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hoir_ray.errors import RequestError, StorageError
from hoir_ray.storage import BackgroundUploader, check_storage, open_storage


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small tmpfs here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_full_disk_is_named_and_leaves_no_half_object(small_disk: Path, tmp_path: Path) -> None:
    storage = open_storage(str(small_disk / "runs"))
    storage.put("kept", b"first")
    big = tmp_path / "big"
    big.write_bytes(b"x" * (2 << 20))
    for write in (lambda: storage.put("kept", big.read_bytes()), lambda: storage.put_file("new", big)):
        with pytest.raises(StorageError, match=r"cannot write '(kept|new)': the disk is full"):
            write()
    assert storage.get("kept") == b"first"
    assert [o.key for o in storage.list()] == ["kept"]
    assert not list(small_disk.rglob(".hoir-part-*"))
    with pytest.raises(StorageError, match=r"bytes are free, at least 100,000,000 are needed"):
        check_storage(storage)


def test_download_to_a_full_disk_is_named(small_disk: Path, tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "runs"))
    storage.put("big", b"x" * (2 << 20))
    with pytest.raises(StorageError, match="the disk is full"):
        storage.get_file("big", small_disk / "copy")
    assert list(small_disk.iterdir()) == []


def test_full_disk_in_the_background_is_told_at_the_end(small_disk: Path) -> None:
    storage = open_storage(str(small_disk))
    uploads = BackgroundUploader(storage, attempts=1)
    uploads.submit("big", lambda: storage.put("big", b"x" * (2 << 20)))
    with pytest.raises(StorageError, match="the disk is full"):
        uploads.close()


def test_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    for address in (tmp_path / "runs", tmp_path / "runs" / "deeper"):
        with pytest.raises(StorageError, match=r"runs is a file where a folder is needed"):
            check_storage(open_storage(str(address)))
    with pytest.raises(StorageError, match="is a file where a folder is needed"):
        open_storage(str(tmp_path / "runs")).list()


def test_folder_that_may_not_be_written(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        context = multiprocessing.get_context("fork")
        outcome = context.SimpleQueue()
        process = context.Process(target=_check_as_nobody, args=(outcome,))
        process.start()
        process.join()
        message = outcome.get()
    else:
        tmp_path.chmod(0o500)
        with pytest.raises(StorageError) as caught:
            check_storage(open_storage(str(tmp_path / "runs")))
        message = str(caught.value)
    assert "permission denied" in message
    assert "choose a folder that this user may write" in message


def _check_as_nobody(outcome: multiprocessing.queues.SimpleQueue[str]) -> None:
    os.setuid(65534)
    try:
        check_storage(open_storage("/var/lib/hoir-not-allowed"))
        outcome.put("no error")
    except StorageError as error:
        outcome.put(str(error))


def test_links_do_not_lead_out(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "secret").write_text("not ours")
    (root / "link").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    storage = open_storage(str(root))
    for key in ("link/secret", "file"):
        with pytest.raises(StorageError, match="leads outside through a symbolic link"):
            storage.get(key)
        with pytest.raises(StorageError, match="leads outside through a symbolic link"):
            storage.put(key, b"x")
    assert storage.list() == []
    storage.delete_all("")
    assert (outside / "secret").read_text() == "not ours"


def test_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    storage = open_storage(str(tmp_path / "runs"))
    storage.put("a/b", b"x")
    assert [o.key for o in storage.list()] == ["a/b"]


def test_kill_in_the_middle_of_writes_never_leaves_half(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        process = context.Process(target=_write_forever, args=(str(tmp_path),), daemon=True)
        process.start()
        while not (tmp_path / "k").exists():
            time.sleep(0.001)
        time.sleep(0.05)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        data = open_storage(str(tmp_path)).get("k")
        assert len(data) == 1 << 20
        assert len(set(data)) == 1


def _write_forever(folder: str) -> None:
    storage = open_storage(folder)
    while True:
        for byte in (b"a", b"b"):
            storage.put("k", byte * (1 << 20))


@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        ("", "must be a folder or s3://bucket/prefix"),
        ("gs://bucket/x", "got 'gs://bucket/x'"),
        ("s3://", "must be a folder or s3://bucket/prefix"),
        ("s3://KEY:planted-canary@bucket/x", "must be a folder or s3://bucket/prefix"),
        ("s3://bucket/a/../b", "must not be empty, '.' or '..'"),
        ("s3://bucket/a//b", "must not be empty"),
    ],
)
def test_addresses_that_are_neither(uri: str, rule: str) -> None:
    with pytest.raises(RequestError) as caught:
        open_storage(uri)
    assert rule in str(caught.value)
    assert "planted-canary" not in str(caught.value)


def test_relative_folder_stays_the_same_after_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage("runs")
    with contextlib.chdir("/"):
        storage.put("a", b"x")
    assert (tmp_path / "runs" / "a").read_bytes() == b"x"
