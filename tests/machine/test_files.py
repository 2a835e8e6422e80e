"""Only regular files are read: a pipe would block for ever, a device never end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hoir_ray.errors import HoirError
from hoir_ray.machine.files import open_regular, read_regular
from hoir_ray.packs.pack import load_pack
from hoir_ray.pictures.load import load_picture
from hoir_ray.results.ledger import Ledger
from hoir_ray.spec.document import load_document
from hoir_ray.storage import open_storage
from hoir_ray.tasks import load_task
from hoir_ray.tasks.contract import read_config


def made(kind: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    return path


def _parquet(path: Path) -> None:
    task = load_task("text_to_image")
    task.data(read_config(task, [f"data.files={path}", "data.text_model=hashing"]))


READERS = {
    "YAML": load_document,
    "picture": load_picture,
    "pack": lambda path: load_pack(path.parent),
    "storage": lambda path: open_storage(str(path.parent)).get(path.name),
    "storage, to a file": lambda path: open_storage(str(path.parent)).get_file(path.name, path.with_suffix(".out")),
    "parquet": _parquet,
}


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
@pytest.mark.parametrize("reader", list(READERS))
@pytest.mark.timeout(60)
def test_what_is_no_file_is_refused_at_once(kind, reader, tmp_path):
    with pytest.raises(HoirError):
        READERS[reader](made(kind, tmp_path / "manifest.json"))


@pytest.mark.timeout(60)
def test_a_record_that_is_a_pipe_is_no_record(tmp_path):
    made("a pipe", tmp_path / "ledger" / "t0001.json")
    with pytest.raises(HoirError, match="not a regular file"):
        Ledger(open_storage(str(tmp_path))).load()


def test_a_file_is_read_up_to_its_limit(tmp_path):
    (tmp_path / "x").write_bytes(b"12345")
    assert read_regular(tmp_path / "x", max_bytes=5) == b"12345"
    with pytest.raises(OSError, match="holds 5 bytes, of 4 that it may have"):
        read_regular(tmp_path / "x", max_bytes=4)
    with pytest.raises(FileNotFoundError), open_regular(tmp_path / "y"):
        pass
