"""Results that could not be uploaded: saved later, and nothing else with them."""

from __future__ import annotations

import pytest

from hoir_ray.errors import StorageError
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.unsaved import keep_records, unsaved_folder, upload_unsaved
from hoir_ray.storage import open_storage


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = open_storage(str(tmp_path / "storage"))
    folder = unsaved_folder(storage, sweep="s")
    keep_records([TrialRecord(trial="t0001", number=1, parameters={})], folder=folder)
    return storage, folder


def test_what_was_kept_is_saved_and_gone(kept):
    storage, folder = kept
    assert folder.stat().st_mode & 0o077 == 0
    assert upload_unsaved(folder, storage) == ["ledger/t0001.json"]
    assert storage.exists("ledger/t0001.json")
    assert not folder.exists()


@pytest.mark.parametrize("planted", ["file", "folder", "hard link", "all of it", "the folder above"])
def test_planted_links_are_not_followed(planted, kept, tmp_path):
    storage, folder = kept
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    if planted == "file":
        (folder / "ledger" / "t0002.json").symlink_to(secret / "key")
    elif planted == "folder":
        (folder / "trials").symlink_to(secret)
    elif planted == "hard link":
        (folder / "ledger" / "t0002.json").hardlink_to(secret / "key")
    elif planted == "all of it":
        folder.rename(tmp_path / "moved")
        folder.symlink_to(secret)
    else:
        folder.parent.rename(tmp_path / "moved")
        folder.parent.symlink_to(tmp_path / "moved")
    with pytest.raises(StorageError, match="is a link or another user's"):
        upload_unsaved(folder, storage)
    assert storage.list() == []
