"""The storage contract, over a folder and over a real S3 server."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hoir_ray.errors import RequestError, StorageError
from hoir_ray.storage import MissingObjectError, Storage, check_storage, open_storage


def test_put_replaces_whole_and_get_reads_back(storage: Storage) -> None:
    storage.put("ledger/t1.json", b"a long first version")
    assert storage.put("ledger/t1.json", b"second")
    assert storage.get("ledger/t1.json") == b"second"
    assert storage.put("empty", b"")
    assert storage.get("empty") == b""


def test_missing_object_is_named(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(MissingObjectError, match="there is no 'a/b'"):
        storage.get("a/b")
    with pytest.raises(MissingObjectError, match="there is no 'a/b'"):
        storage.get_file("a/b", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    assert not storage.exists("a/b")
    assert storage.list() == []
    storage.delete("a/b")
    storage.delete_all("a")


def test_if_absent_keeps_what_is_there(storage: Storage) -> None:
    assert storage.put("k", b"1", if_absent=True)
    assert not storage.put("k", b"2", if_absent=True)
    assert storage.get("k") == b"1"


def test_of_sixteen_racing_writers_one_wins(storage: Storage) -> None:
    barrier = threading.Barrier(16)

    def write(number: int) -> bool:
        barrier.wait()
        return storage.put("race", b"%d" % number, if_absent=True)

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(write, range(16)))
    assert won.count(True) == 1
    assert storage.get("race") == b"%d" % won.index(True)


def test_swap_writes_only_over_the_version_it_knows(storage: Storage) -> None:
    first = storage.swap("k", b"1", etag=None)
    assert first is not None
    assert storage.swap("k", b"x", etag=None) is None
    second = storage.swap("k", b"2", etag=first)
    assert second is not None
    assert storage.swap("k", b"x", etag=first) is None
    assert storage.get_version("k") == (b"2", second)
    storage.delete("k")
    assert storage.swap("k", b"x", etag=second) is None


def test_listing_is_by_folder_sorted_with_sizes_and_times(storage: Storage) -> None:
    for key in ("models/ab/x", "models/a/z", "models/a/x/y", "other"):
        storage.put(key, key.encode())
    assert [o.key for o in storage.list()] == ["models/a/x/y", "models/a/z", "models/ab/x", "other"]
    for prefix in ("models/a", "models/a/"):
        assert [o.key for o in storage.list(prefix)] == ["models/a/x/y", "models/a/z"]
    found = storage.list("models/ab")[0]
    assert found.size_bytes == len("models/ab/x")
    assert abs((datetime.now(UTC) - found.modified).total_seconds()) < 60


def test_delete_all_leaves_neighbours(storage: Storage) -> None:
    for key in ("a/1", "a/b/2", "ab/3"):
        storage.put(key, b"x")
    storage.delete_all("a")
    assert [o.key for o in storage.list()] == ["ab/3"]
    storage.delete("ab/3")
    assert storage.list() == []


def test_child_is_a_storage_of_its_own(storage: Storage) -> None:
    child = storage.child("newt sweep")
    child.put("spec.yaml", b"x")
    assert storage.get("newt sweep/spec.yaml") == b"x"
    assert [o.key for o in child.list()] == ["spec.yaml"]
    assert child.uri == f"{storage.uri}/newt sweep"
    assert child.uri in child.describe()


def test_only_a_storage_on_this_machine_has_a_folder(storage: Storage) -> None:
    child = storage.child("sweep")
    child.put("a/b", b"x")
    if storage.uri.startswith("s3://"):
        assert child.folder is None
    else:
        assert child.folder is not None
        assert (child.folder / "a" / "b").read_bytes() == b"x"


def test_files_larger_than_a_part_come_back_identical(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * (17 << 12))  # 17 MiB, three parts
    storage.put_file("large", source)
    storage.get_file("large", tmp_path / "deep" / "copy")
    assert (tmp_path / "deep" / "copy").read_bytes() == source.read_bytes()
    assert storage.list()[0].size_bytes == source.stat().st_size


def test_unusual_but_safe_keys_keep_their_meaning(storage: Storage) -> None:
    keys = ["a b+c/ü%20?.json", "#&=;", "..a/...", "日本/🦎", "~/$x", "x" * 255]
    for key in keys:
        storage.put(key, key.encode())
    assert {o.key for o in storage.list()} == set(keys)
    assert all(storage.get(key) == key.encode() for key in keys)


def test_unsafe_keys_are_refused_before_anything_happens(storage: Storage) -> None:
    names = ["", "..", ".", "a/../b", "/a", "a/", "a//b", "a\0b", "a\nb", "a\\b", "\ud800", ".hoir-part-x", "x" * 256]
    for key in [*names, "/".join(["x" * 200] * 5)]:
        with pytest.raises(RequestError, match="storage key"):
            storage.put(key, b"x")
        with pytest.raises(RequestError, match="storage key"):
            storage.get(key)
        with pytest.raises(RequestError, match=r"storage (key|name)"):
            storage.child(key)
    assert storage.list() == []


def test_storage_travels_to_other_processes(storage: Storage) -> None:
    storage.put("k", b"1")
    assert pickle.loads(pickle.dumps(storage)).get("k") == b"1"


def test_preflight_leaves_nothing_behind(storage: Storage) -> None:
    check_storage(storage)
    assert storage.list() == []


def test_names_that_are_files_cannot_be_folders_too(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    storage.put("a", b"x")
    with pytest.raises(StorageError, match="is a file where a folder is needed"):
        storage.put("a/b", b"x")


def test_what_a_killed_writer_left_is_not_listed(storage: Storage, request: pytest.FixtureRequest) -> None:
    storage.put("kept", b"x")
    if storage.uri.startswith("s3://"):
        bucket, _, prefix = storage.uri.removeprefix("s3://").partition("/")
        request.getfixturevalue("s3_server").client().create_multipart_upload(Bucket=bucket, Key=f"{prefix}/cut")
    else:
        Path(storage.uri, ".hoir-part-0").write_bytes(b"half")
    assert [o.key for o in storage.list()] == ["kept"]
