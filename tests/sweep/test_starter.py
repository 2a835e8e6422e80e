"""`hoir init`: the YAML that it writes for a picture is a valid sweep of that picture."""

from __future__ import annotations

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from hoir_ray.errors import DataError, RequestError
from hoir_ray.spec.load import load_spec
from hoir_ray.sweep.planning.plan import plan_sweep
from hoir_ray.sweep.planning.rehearsal import rehearse
from hoir_ray.sweep.planning.starter import write_starter
from hoir_ray.sweep.planning.workload import read_inputs


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(path, *, size=(40, 30)):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("name", ["photo.png", "IMG #2 12:30.png", "- {x}.png", "été 漢.png", "a\nb: c.png"])
def test_what_is_written_is_a_sweep_of_the_picture(name, here):
    out = write_starter(picture(here / name))
    spec, document = load_spec(out)
    plan = plan_sweep(spec, document)
    assert plan.config(plan.smallest.point).data.image == str(here / name)
    assert plan.feasible[0] < plan.feasible[1]
    assert spec.budget.max_trials
    assert spec.budget.wall_clock


def test_its_networks_train_on_the_picture_shrunk(here):
    spec, document = load_spec(write_starter(picture(here / "large.png", size=(1000, 10))))
    assert spec.data["max_side"] == 256
    assert rehearse(plan_sweep(spec, document))["smallest"]["num_parameters"] > 0


def test_a_folder_and_captions_are_sweeps_of_other_tasks(here):
    folder = here / "my pictures"
    folder.mkdir()
    for number in range(3):
        picture(folder / f"{number}.png")
    plan = plan_sweep(*load_spec(write_starter(folder)))
    assert plan.spec.task == "random_interpolation"
    assert read_inputs(plan) == 2 * 256
    encoded = [(folder / f"{number}.png").read_bytes() for number in range(3)]
    parquet.write_table(pyarrow.table({"caption": ["a", "b", "c"], "jpg_0": encoded}), here / "book.parquet")
    plan = plan_sweep(*load_spec(write_starter(here / "book.parquet")))
    assert plan.spec.task == "text_to_image"
    assert read_inputs(plan) == 3 * 40 * 30
    (here / "empty").mkdir()
    with pytest.raises(DataError):
        write_starter(here / "empty")


def test_nothing_is_written_over_and_no_picture_is_no_sweep(here):
    photo = picture(here / "photo.png")
    write_starter(photo)
    with pytest.raises(RequestError, match="exists already"):
        write_starter(photo)
    with pytest.raises(DataError):
        write_starter(here / "missing.png")
