"""Only regular files are read: a pipe would block for ever, a device never end."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hoir_ray.errors import HoirError
from hoir_ray.machine.files import append_regular, open_regular, read_at_most, read_regular, replacing, try_destination
from hoir_ray.packs.foreign_checkpoint import read_foreign
from hoir_ray.packs.load import load
from hoir_ray.packs.pack import load_pack
from hoir_ray.pictures.load import load_picture
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import TrialRecord
from hoir_ray.search.portfolio.document import load_portfolio
from hoir_ray.spec.document import load_document
from hoir_ray.storage import open_storage
from hoir_ray.tasks import load_task
from hoir_ray.tasks.contents import fingerprint
from hoir_ray.tasks.contract import read_config
from hoir_ray.tasks.inputs import hash_inputs, look_at
from hoir_ray.trackers import jsonl
from hoir_ray.trackers.wandb.journal import Journal, find_journals


def made(kind: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as bound:
            here = Path.cwd()
            os.chdir(path.parent)  # the names of sockets are short
            bound.bind(path.name)
            os.chdir(here)
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
    "file of a network": load,
    "checkpoint": read_foreign,
    "portfolio": load_portfolio,
    "input": lambda path: hash_inputs({"x": look_at(_renamed(path))}, show=lambda *_: None),
    "fingerprint": lambda path: fingerprint(look_at(_renamed(path))),
}


def _renamed(path: Path) -> Path:
    return path.rename(path.with_name("input"))


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a socket", "a folder"])
@pytest.mark.parametrize("reader", list(READERS))
@pytest.mark.timeout(60)
def test_what_is_no_file_is_refused_at_once(kind, reader, tmp_path):
    with pytest.raises(HoirError):
        READERS[reader](made(kind, tmp_path / "manifest.json"))


@pytest.mark.parametrize("kind", ["a pipe", "a socket", "too large"])
@pytest.mark.timeout(60)
def test_what_is_no_record_costs_its_trial_only(kind, tmp_path, caplog):
    record = TrialRecord(trial="t0002", number=2, parameters={})
    ledger = Ledger(open_storage(str(tmp_path)))
    ledger.save(record)
    planted = tmp_path / "ledger" / "t0001.json"
    if kind == "too large":
        with planted.open("wb") as file:
            file.truncate(2**40)
    else:
        made(kind, planted)
    assert ledger.load() == [record]
    assert "t0001.json" in caplog.text
    assert "this trial is left out" in caplog.text


def _to_jsonl(path: Path) -> None:
    tracker = jsonl.build(
        jsonl.Config(), directory=path.parent, sweep="s", trial=path.name, run="r", parameters={"x": 1}
    )
    folder = path.parent / "jsonl" / path.name
    path.rename(folder / "metrics.jsonl")
    tracker.logger.log_metrics({"loss": 1.0}, step=1)


def _to_journal(path: Path) -> None:
    journal = Journal(path.parent, run={"config": {}})
    journal.add_config({"x": 1})
    (path.parent / "rows.jsonl").unlink()
    path.rename(path.parent / "rows.jsonl")
    journal.add_row(1, {"loss": 1.0})


def _under_lock(path: Path) -> None:
    path.rename(path.with_name(".hoir-exclusive"))
    open_storage(str(path.parent)).put("x", b"1", if_absent=True)


WRITERS = {
    "append": lambda path: append_regular(path).__enter__(),
    "JSON lines": _to_jsonl,
    "journal of W&B": _to_journal,
    "lock of storage": _under_lock,
    "destination": lambda path: try_destination(path, source="--out"),
}


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a socket", "a folder"])
@pytest.mark.parametrize("writer", list(WRITERS))
@pytest.mark.timeout(60)
def test_what_is_no_file_is_not_written_to(kind, writer, tmp_path):
    with pytest.raises((HoirError, OSError)):
        WRITERS[writer](made(kind, tmp_path / "planted"))


def test_a_device_is_not_replaced(tmp_path):
    (tmp_path / "null").symlink_to("/dev/null")
    with pytest.raises(OSError, match="not a regular file"), replacing(tmp_path / "null"):
        pass
    assert (tmp_path / "null").is_char_device()


@pytest.mark.timeout(60)
def test_journals_that_hold_pipes_are_passed_over(tmp_path, caplog):
    made("a pipe", tmp_path / "wandb" / "run-1" / "run.json")
    assert find_journals(tmp_path) == []
    assert "not a run that was recorded here" in caplog.text


def test_a_file_is_read_up_to_its_limit(tmp_path):
    (tmp_path / "x").write_bytes(b"12345")
    assert read_regular(tmp_path / "x", max_bytes=5) == b"12345"
    with pytest.raises(OSError, match="holds 5 bytes, of 4 that it may have"):
        read_regular(tmp_path / "x", max_bytes=4)
    with pytest.raises(FileNotFoundError), open_regular(tmp_path / "y"):
        pass


def test_a_limit_takes_no_memory(tmp_path: Path) -> None:
    """A process with little memory left reads a small file, whatever size the file might have had."""
    (tmp_path / "small").write_bytes(b"small")
    program = (
        "import resource, sys; from pathlib import Path; from hoir_ray.machine.files import read_regular\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (2**28, 2**28))\n"
        "print(read_regular(Path(sys.argv[1]), max_bytes=2**40).decode())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "small")], capture_output=True, text=True, check=False
    )
    assert ran.stdout == "small\n", ran.stderr


def test_no_more_than_the_limit_is_read() -> None:
    content = bytes(range(256)) * 8192
    for most in (0, 1, 2**20, 2**20 + 1, len(content), len(content) + 1):
        assert read_at_most(io.BytesIO(content), most) == content[:most]
