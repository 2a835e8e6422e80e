"""Copies of sweeps between folders and buckets of a real S3 server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hoir_ray.errors import RequestError, StorageError
from hoir_ray.results.management.contents import COPIED, contents_of
from hoir_ray.results.management.copy import copy_sweep, locate_copy
from hoir_ray.results.sweep_results import SPEC, open_sweep
from hoir_ray.spec.document import parse_document
from hoir_ray.storage import Storage, acquire_lock, open_storage
from hoir_ray.storage.manifest import MANIFEST
from hoir_ray.tasks.inputs import hash_inputs, look_at, ship_inputs
from tests.report.made import made_sweep
from tests.results.management.conftest import bucket
from tests.servers.s3_proxy import S3Proxy
from tests.storage.backends import impatient

NOT_COPIED = {SPEC, COPIED, "lock.json", "lock-left.json"}


def source_of(root: Storage, *, tmp_path: Path) -> Storage:
    """A made sweep with a model pack and a checkpoint of more than one part, below any root."""
    made = made_sweep(tmp_path / "made-elsewhere", num_trials=6).storage
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    made.put_folder("models/t0001", pack)
    for found in made.list():
        root.put(f"made/{found.key}", made.get(found.key))
    (tmp_path / "large").write_bytes(bytes(range(256)) * 4 * 9216)  # 9 MiB: two parts
    root.child("made").put_file("trials/t0001/large.bin", tmp_path / "large")
    return root.child("made")


def contents(storage: Storage) -> dict[str, bytes]:
    return {o.key: storage.get(o.key) for o in storage.list() if o.key not in NOT_COPIED}


def touch(sweep: Storage) -> None:
    sweep.put("best.json", b"{}")


@pytest.fixture(params=["local", "s3"])
def to(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Another root than `root`."""
    return (open_storage(str(tmp_path)) if request.param == "local" else bucket(request)).child("other root")


def test_a_copy_is_the_same_sweep_under_its_own_name(root: Storage, to: Storage, tmp_path: Path) -> None:
    source = source_of(root, tmp_path=tmp_path)
    told: list[tuple[int, int]] = []
    copied = copy_sweep(source, to.child("again"), show=lambda _, done, total: told.append((done, total)))
    before, after = contents(source), contents(copied.storage)
    assert before == after
    assert (copied.sent, copied.equal, copied.damaged, copied.foreign) == (len(before), 0, (), ())
    assert told[-1] == (copied.sent_bytes, copied.sent_bytes)
    assert copied.sent_bytes == sum(map(len, before.values()))
    opened, original = open_sweep(copied.storage), open_sweep(source)
    assert opened.records == original.records
    assert opened.spec.name == "again"
    written = parse_document(copied.storage.get(SPEC).decode(), name=SPEC).data
    assert (written["name"], written["storage"]["uri"]) == ("again", to.uri)
    assert not copied.storage.exists("lock.json")


def test_what_is_there_is_not_sent_again(root: Storage, to: Storage, tmp_path: Path) -> None:
    source = source_of(root, tmp_path=tmp_path)
    copy_sweep(source, to.child("again"))
    source.put("trials/t0001/new.txt", b"new")
    source.put("best.json", source.get("best.json").replace(b"made", b"edam"))  # as long as before
    source.delete("trials.parquet")
    copied = copy_sweep(source, to.child("again"))
    assert copied.sent == 2
    assert copied.equal == len(contents(source)) - 2
    assert contents(copied.storage) == contents(source)


def test_an_interrupted_copy_is_no_sweep_and_is_resumed(
    s3_proxy: S3Proxy, s3_folder: str, tmp_path: Path, hoir
) -> None:
    source = source_of(open_storage(str(tmp_path / "runs")), tmp_path=tmp_path)
    to = impatient(s3_proxy, s3_folder).child("again")
    with s3_proxy.faulty("403", match=r"PUT .*/ledger/"), pytest.raises(StorageError, match="s3:PutObject"):
        copy_sweep(source, to)
    with pytest.raises(RequestError, match="no sweep at"):
        open_sweep(to)
    assert to.exists("models/t0001/manifest.json")
    s3_proxy.log.clear()
    ended = hoir("copy", source.uri, f"{to.uri}", "--endpoint-url", s3_proxy.endpoint_url)
    assert (ended.code, ended.err) == (0, "")
    assert "were there already" in ended.out
    assert contents(to) == contents(source)
    sent = [r.path for r in s3_proxy.log if r.method in ("PUT", "POST") and "/again/" in r.path]
    assert sent
    assert not [path for path in sent if "/trials/" in path or "/models/" in path]


def test_ctrl_c_ends_a_copy_in_order(s3_proxy: S3Proxy, s3_folder: str, tmp_path: Path) -> None:
    source = source_of(open_storage(str(tmp_path / "runs")), tmp_path=tmp_path)
    command = [sys.executable, "-m", "hoir_ray", "copy", source.uri, f"s3://{s3_folder}/again"]
    with s3_proxy.faulty("slow", match=r"PUT .*/ledger/", seconds=2.0) as fault:
        copying = subprocess.Popen(
            [*command, "--endpoint-url", s3_proxy.endpoint_url], stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        while not fault.hits:
            assert copying.poll() is None
            time.sleep(0.05)
        copying.send_signal(signal.SIGINT)
        _, said = copying.communicate()
    assert copying.returncode == 130
    assert said.strip() == "error: interrupted; the same command does the rest"
    to = open_storage(f"s3://{s3_folder}", endpoint_url=s3_proxy.endpoint_url).child("again")
    assert not to.exists(SPEC)
    assert contents(copy_sweep(source, to).storage) == contents(source)


def test_nothing_else_is_overwritten(root: Storage, to: Storage, tmp_path: Path) -> None:
    source = source_of(root, tmp_path=tmp_path)
    (tmp_path / "second").mkdir()
    source_of(to, tmp_path=tmp_path / "second")
    to.put("photos/cat.png", b"mine")
    for taken in ("made", "photos"):
        before = contents(to.child(taken))
        with pytest.raises(RequestError, match="already holds something else"):
            copy_sweep(source, to.child(taken))
        assert contents(to.child(taken)) == before
    copy_sweep(source, to.child("again"))
    with acquire_lock(to.child("again"), owner="ada@here"):
        pass
    with pytest.raises(RequestError, match="was run after it had been copied"):
        copy_sweep(source, to.child("again"))
    with pytest.raises(RequestError, match="the copy's name must be"):
        copy_sweep(source, to.child("my sweep"))
    for place in (source, source.child("inside")):
        with pytest.raises(RequestError, match="onto or into itself"):
            copy_sweep(source, place)


def test_a_running_sweep_is_refused_and_a_changing_one_noticed(root: Storage, to: Storage, tmp_path: Path) -> None:
    source = source_of(root, tmp_path=tmp_path)
    with acquire_lock(source, owner="ada@here"), pytest.raises(RequestError, match="is run by ada@here"):
        copy_sweep(source, to.child("again"))
    with pytest.raises(StorageError, match="has changed while it was copied"):
        copy_sweep(source, to.child("again"), show=lambda what, done, total: touch(source))
    assert not to.child("again").exists(SPEC)
    assert contents(copy_sweep(source, to.child("again")).storage) == contents(source)


def test_damage_is_named_and_what_is_no_sweeps_is_left_out(hoir, tmp_path: Path) -> None:
    source = source_of(open_storage(str(tmp_path / "hoir-runs")), tmp_path=tmp_path)
    source.put("models/t0001/model.safetensors", b"rotten")
    source.put("report.html", b"mine")
    ended = hoir("copy", "made", "again")
    assert ended.code == 1
    assert "models/t0001/model.safetensors" in ended.err
    assert "report.html" in ended.err
    assert f"next: hoir sweep hoir-runs/again/{SPEC}" in ended.out
    assert open_sweep("again").spec.name == "again"


def test_stored_data_goes_along(root: Storage, to: Storage, tmp_path: Path) -> None:
    source = source_of(root, tmp_path=tmp_path)
    (tmp_path / "photo.png").write_bytes(b"a photo")
    path = str(tmp_path / "photo.png")
    hashed = hash_inputs({path: look_at(tmp_path / "photo.png")}, show=lambda what, done, total: None)
    shipped = ship_inputs(hashed, root, show=lambda what, done, total: None)
    source.put(SPEC, source.get(SPEC) + f"inputs: {json.dumps(shipped)}\n".encode())
    copy_sweep(source, to.child("again"))
    to.get_folder(f"inputs/{shipped[path].split('/')[0]}", tmp_path / "back")
    assert (tmp_path / "back" / "photo.png").read_bytes() == b"a photo"
    assert (tmp_path / "back" / MANIFEST).is_file()


def test_where_a_copy_goes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = made_sweep(tmp_path / "hoir-runs", num_trials=1).storage
    assert locate_copy("b", source).uri == str(tmp_path / "hoir-runs" / "b")
    assert locate_copy("x/b", source).uri == str(tmp_path / "x" / "b")
    assert locate_copy("x/", source).uri == str(tmp_path / "x" / "made")
    assert locate_copy("s3://bucket", source).uri == "s3://bucket/made"
    assert locate_copy("s3://bucket/sweeps/", source).uri == "s3://bucket/sweeps/made"
    assert locate_copy("s3://bucket/sweeps/b", source).uri == "s3://bucket/sweeps/b"


@pytest.mark.slow
def test_a_copy_resumes_and_the_first_one_stays(hoir, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(
        "name: tiny\ntask: image\ndata: {image: sample:astronaut, max_side: 8}\n"
        "metric: {name: val_psnr_db, goal: maximize}\nbudget: {max_trials: 1}\n"
        "parameters: {network.hidden.width: {min: 4, max: 8}, training.max_epochs: {value: 1}}\n"
    )
    assert hoir("sweep", "tiny.yaml").code == 0
    first = open_storage(str(tmp_path / "hoir-runs" / "tiny"))
    assert contents_of(first).foreign == ()  # all that a sweep writes is known for its own
    before = contents(first)
    assert hoir("copy", "tiny", "elsewhere/second").code == 0
    ended = hoir("sweep", "elsewhere/second/spec.yaml", "--add-trials", "1")
    assert ended.code == 0, ended.err
    assert [r.state for r in open_sweep(str(tmp_path / "elsewhere" / "second")).records] == ["FINISHED"] * 2
    assert contents(first) == before
    assert hoir("copy", "tiny", "elsewhere/second").code == 2
