"""Sweeps and their data at another place, or under another name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from hoir_ray.errors import RequestError
from hoir_ray.results.sweep_results import SPEC, open_sweep, read_spec
from hoir_ray.spec.document import dump_document
from hoir_ray.spec.load import load_spec
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.storage import open_storage
from hoir_ray.sweep.planning.plan import plan_sweep
from hoir_ray.sweep.resume import refuse_other_spec, resolved
from hoir_ray.tasks import load_task
from hoir_ray.tasks.contents import MAX_WHOLE_BYTES, contents_of, fingerprint
from hoir_ray.tasks.inputs import Input, look_at

TEXT = """\
name: tiny
task: {task}
data: {data}
metric: {{name: val_psnr_db, goal: maximize}}
parameters: {{network.hidden.width: {{min: 4, max: 12}}}}
budget: {{max_trials: 2}}
"""


def project(folder: Path, *, colour: int = 10) -> Path:
    (folder / "photos").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (8, 8), (colour, number, 0)).save(folder / "photos" / f"{number}.png")
    (folder / "image.yaml").write_text(TEXT.format(task="image", data="{image: photos/0.png}"))
    (folder / "many.yaml").write_text(TEXT.format(task="random_interpolation", data="{folder: photos}"))
    return folder


def spec_of(folder: Path, file: str) -> SweepSpec:
    spec = plan_sweep(*load_spec(folder / file)).spec
    return spec.model_copy(update={"contents": contents_of(spec, load_task(spec.task))})


@pytest.mark.parametrize("file", ["image.yaml", "many.yaml"])
def test_a_copied_project_is_the_same_sweep(tmp_path: Path, file: str) -> None:
    before = spec_of(project(tmp_path / "a"), file)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    refuse_other_spec(before, spec_of(tmp_path / "b", file), where="here")
    shutil.rmtree(tmp_path / "a")
    refuse_other_spec(before, spec_of(tmp_path / "b", file), where="here")
    with pytest.raises(RequestError, match=r"data\.\w+: was .*, is "):
        refuse_other_spec(before, spec_of(project(tmp_path / "c", colour=11), file), where="here")


@pytest.mark.parametrize("file", ["image.yaml", "many.yaml"])
def test_other_content_at_the_same_place_is_another_sweep(tmp_path: Path, file: str) -> None:
    before = spec_of(project(tmp_path / "a"), file)
    Image.new("RGB", (8, 8), (99, 0, 0)).save(tmp_path / "a" / "photos" / "0.png")
    with pytest.raises(RequestError, match=r"data: .* has another content than when the sweep began"):
        refuse_other_spec(before, spec_of(tmp_path / "a", file), where="here")


def test_a_sweep_from_before_contents_were_kept_is_compared_by_its_paths(tmp_path: Path) -> None:
    after = spec_of(project(tmp_path / "a"), "image.yaml")
    refuse_other_spec(after.model_copy(update={"contents": {}}), after, where="here")


def test_large_data_is_told_by_names_sizes_and_both_ends(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    file = tmp_path / "big" / "a.png"
    file.write_bytes(bytes(1_000_000))
    data = look_at(tmp_path / "big")
    large = Input(data.path, data.files, MAX_WHOLE_BYTES + 1)
    first = fingerprint(large)
    file.write_bytes(bytes(999_999) + b"x")
    assert fingerprint(large) != first
    file.write_bytes(bytes(1_000_000))
    assert fingerprint(large) == first
    assert fingerprint(look_at(tmp_path / "big")) != first


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_a_copied_or_renamed_folder_is_a_sweep_of_its_new_name(tmp_path: Path, how: object) -> None:
    spec = spec_of(project(tmp_path / "a"), "image.yaml")
    runs = open_storage(str(tmp_path / "runs"))
    runs.child("tiny").put(SPEC, dump_document(resolved(spec)).encode())
    assert callable(how)
    how(tmp_path / "runs" / "tiny", tmp_path / "runs" / "second")
    opened = open_sweep(str(tmp_path / "runs" / "second"))
    assert opened.spec.name == "second"
    renamed = spec.model_copy(update={"name": "second"})
    before = read_spec(runs.child("second"))
    assert before is not None
    refuse_other_spec(before, renamed, where="here")
    assert before.contents == spec.contents
