"""Data in storage: put there once, brought to a machine once, and never anything but what its hash says."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hoir_ray.errors import DataError, PackError, RequestError, SpecError
from hoir_ray.machine.cache import cache_folder
from hoir_ray.spec.document import dump_document, parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.storage import Storage, open_storage
from hoir_ray.sweep.planning.plan import plan_sweep
from hoir_ray.sweep.resume import refuse_other_spec, resolved
from hoir_ray.tasks import inputs, load_task
from hoir_ray.tasks.inputs import HashedInput, find_inputs, hash_inputs, input_paths, ship_inputs
from hoir_ray.tasks.localize import fetch, localize


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return open_storage(str(tmp_path / "runs"))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "laptop" / "ein Bild.png"
    path.parent.mkdir()
    Image.linear_gradient("L").convert("RGB").save(path)
    return path


def values(task: str = "image", **data: Any) -> dict[str, Any]:
    return {
        "name": "s",
        "task": task,
        "data": data,
        "metric": {"name": "val_loss"},
        "parameters": {"network.hidden.width": {"min": 4, "max": 8}},
        "budget": {"max_trials": 1},
    }


def spec_of(task: str = "image", **data: Any) -> SweepSpec:
    return build_spec(parse_document(dump_document(values(task, **data)), name="s.yaml"))


def hashed(spec: SweepSpec) -> dict[str, HashedInput]:
    return hash_inputs(find_inputs(spec, load_task(spec.task)), show=lambda *_: None)


def shipped(spec: SweepSpec, root: Storage) -> dict[str, str]:
    return ship_inputs(hashed(spec), root, show=lambda *_: None)


def test_what_a_spec_names() -> None:
    spec = spec_of("neighborhood", images=["/a.png", "sample:coffee"], val_images="/b.png")
    assert input_paths(spec, load_task("neighborhood")) == ["/a.png", "/b.png"]
    searching = {**values(), "parameters": {"data.image": {"values": ["/c.png", "/d.png"]}}}
    searched = build_spec(parse_document(dump_document(searching), name="s.yaml"))
    assert input_paths(searched, load_task("image")) == ["/c.png", "/d.png"]
    assert input_paths(spec_of(image="sample:coffee"), load_task("image")) == []


def test_a_file_travels_once(root: Storage, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(image=str(picture))
    keys = shipped(spec, root)
    written = [(o.key, o.modified) for o in root.list()]
    assert shipped(spec, root) == keys
    assert [(o.key, o.modified) for o in root.list()] == written
    content = picture.read_bytes()
    picture.unlink()

    config = load_task("image").config.model_validate({"data": {"image": str(picture)}})
    here = localize(config, keys, root)
    assert Path(here.data.image).read_bytes() == content
    assert Path(here.data.image).name == "ein Bild.png"
    assert config.data.image == str(picture)
    root.delete_all("inputs")  # not needed a second time
    assert localize(config, keys, root) == here
    assert (cache_folder() / "inputs").stat().st_mode & 0o077 == 0


def test_a_folder_travels_without_what_is_hidden(root: Storage, picture: Path) -> None:
    folder = picture.parent
    (folder / "below").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "below" / "other.png")
    (folder / "manifest.json").write_text("the user's own")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("url = https://user:hunter2@host")
    keys = shipped(spec_of("random_interpolation", folder=str(folder)), root)
    there = fetch(keys[str(folder)], root)
    found = sorted(p.relative_to(there).as_posix() for p in there.rglob("*") if p.is_file())
    assert found == ["below/other.png", "ein Bild.png", "manifest.json"]
    assert (there / "manifest.json").read_text() == "the user's own"


def test_of_several_processes_one_brings_it(root: Storage, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = shipped(spec_of(image=str(picture)), root)[str(picture)]
    brought = []
    get_folder = Storage.get_folder

    def slowly(self: Storage, prefix: str, folder: Path) -> None:
        brought.append(prefix)
        time.sleep(0.2)
        get_folder(self, prefix, folder)

    monkeypatch.setattr(Storage, "get_folder", slowly)
    with ThreadPoolExecutor(8) as threads:
        paths = set(threads.map(lambda _: fetch(key, root), range(8)))
    assert (len(paths), len(brought)) == (1, 1)


def test_what_is_not_what_its_name_says_is_refused(root: Storage, picture: Path) -> None:
    key = shipped(spec_of(image=str(picture)), root)[str(picture)]
    digest, name = key.split("/")
    root.put(f"inputs/{digest}/{name}", b"something else")
    with pytest.raises(PackError, match="bytes where"):
        fetch(key, root)
    with root_as(root, digest, picture, content=b"something else"), pytest.raises(PackError, match="not what its name"):
        fetch(key, root)
    assert not [p for p in (cache_folder() / "inputs").iterdir() if p.is_dir()]


class root_as:  # noqa: N801
    """Another input, complete with its manifest, in the place of `digest`."""

    def __init__(self, root: Storage, digest: str, picture: Path, *, content: bytes) -> None:
        picture.write_bytes(content)
        other = shipped(spec_of(image=str(picture)), root)[str(picture)].split("/")[0]
        for entry in root.list(f"inputs/{other}"):
            root.put(entry.key.replace(other, digest), root.get(entry.key))

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_what_was_not_used_for_long_goes(root: Storage, picture: Path) -> None:
    key = shipped(spec_of(image=str(picture)), root)[str(picture)]
    old = fetch(key, root).parent
    os.utime(old, (0, 0))
    picture.write_bytes(picture.read_bytes() + b"more")
    fetch(shipped(spec_of(image=str(picture)), root)[str(picture)], root)
    assert not old.exists()
    assert fetch(key, root).exists()


def test_what_cannot_be_shipped_is_said(tmp_path: Path, picture: Path) -> None:
    text = dump_document(values(image="laptop/missing.png"))
    (tmp_path / "s.yaml").write_text(text)
    document = parse_document(text, name=str(tmp_path / "s.yaml"))
    plan = plan_sweep(build_spec(document), document)
    with pytest.raises(SpecError, match=r"missing\.png: no such file or folder on this machine \(.*s\.yaml:\d+\)"):
        find_inputs(plan.spec, plan.task, document)
    with pytest.raises(SpecError, match=r"763 bytes, more than the 100 bytes that are copied.*--max-ship"):
        find_inputs(spec_of(image=str(picture)), load_task("image"), max_bytes=100)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match="there is no file in this folder"):
        find_inputs(spec_of("random_interpolation", folder=str(tmp_path / "empty")), load_task("random_interpolation"))
    if os.getuid():
        picture.chmod(0)
        with pytest.raises(DataError, match="cannot be read: Permission denied"):
            hashed(spec_of(image=str(picture)))


def test_a_sweep_keeps_the_content_it_began_with(root: Storage, picture: Path) -> None:
    before = spec_of(image=str(picture))
    before = before.model_copy(update={"inputs": shipped(before, root)})
    refuse_other_spec(before, before, where="here")
    refuse_other_spec(before, spec_of(image=str(picture)), where="here")  # run where the path is there anyway
    refuse_other_spec(spec_of(image=str(picture)), before, where="here")  # now on other machines too
    picture.write_bytes(b"another")
    after = before.model_copy(update={"inputs": shipped(before, root)})
    with pytest.raises(RequestError, match=r"ein Bild\.png has another content than when the sweep began"):
        refuse_other_spec(before, after, where="here")


def test_a_resolved_spec_runs_again_elsewhere(root: Storage, picture: Path) -> None:
    spec = spec_of(image=str(picture))
    assert "inputs" not in resolved(spec)
    spec = spec.model_copy(
        update={"inputs": shipped(spec, root), "storage": spec.storage.model_copy(update={"uri": root.uri})}
    )
    picture.unlink()
    again = build_spec(parse_document(dump_document(resolved(spec)), name="spec.yaml"))
    assert again.inputs == spec.inputs
    assert find_inputs(again, load_task("image")) == {}
    plan = plan_sweep(again)
    assert plan.task.data(localize(plan.config(plan.smallest.point), again.inputs, root)).train.num_samples == 256 * 256


@pytest.mark.parametrize("key", ["../../etc/passwd", "0" * 64, f"{'0' * 64}/a/b", f"{'0' * 63}g/a"])
def test_only_a_hash_and_a_name_are_a_key(key: str) -> None:
    with pytest.raises(SpecError, match=r"inputs\./a: .*pattern"):
        build_spec(parse_document(dump_document({**values(), "inputs": {"/a": key}}), name="s.yaml"))


def test_progress_is_shown(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_CHUNK_BYTES", 100)
    shown: list[tuple[str, int, int]] = []
    hash_inputs(find_inputs(spec_of(image=str(picture)), load_task("image")), show=lambda *s: shown.append(s))
    assert len(shown) == 8
    assert shown[-1] == ("reading ein Bild.png", 763, 763)
