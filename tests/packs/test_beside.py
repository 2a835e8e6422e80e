"""A network's file beside other codecs at the same number of bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoir_ray.errors import DataError, PackError
from hoir_ray.packs.beside import beside_codecs, publish_sheet
from hoir_ray.packs.quantization.form import find_form
from hoir_ray.packs.quantization.goal import Goal
from hoir_ray.pictures.load import load_picture
from hoir_ray.pictures.quality import psnr_db
from hoir_ray.results.management.contents import SHEET
from hoir_ray.storage import open_storage
from hoir_ray.tasks import load_task
from tests.packs.quantization.test_form import Trained, train_small


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train_small()


def test_each_codec_stays_within_the_bytes_of_the_network(trained: Trained, tmp_path: Path) -> None:
    pack = trained.pack
    content = find_form(pack, trained.data, goal=Goal()).content
    found = beside_codecs(content, task=pack.task, config=pack.config)
    assert found is not None
    assert found.size_bytes == len(content)
    original = load_picture(pack.config.data.image, max_side=pack.config.data.max_side)
    height, width, _ = original.shape
    fitting = [e for e in found.codecs.values() if e is not None]
    assert all(len(e.content) <= len(content) for e in fitting)
    num = 2 + len(fitting)
    assert found.sheet.shape == (height, num * width + 4 * (num - 1), 3)
    assert (found.sheet[:, :width] * 255).round().equal(original.float())
    drawn = found.sheet[:, width + 4 : 2 * width + 4]
    assert psnr_db(drawn, original.float() / 255) == pytest.approx(found.psnr_db, abs=0.01)
    publish_sheet(found, open_storage(str(tmp_path)))
    assert load_picture(tmp_path / SHEET).shape == found.sheet.shape


def test_what_cannot_be_compared_is_named(trained: Trained) -> None:
    pack = trained.pack
    content = find_form(pack, trained.data, goal=Goal()).content
    elsewhere = pack.config.model_copy(update={"data": pack.config.data.model_copy(update={"image": "gone.png"})})
    with pytest.raises(DataError, match=r"gone\.png"):
        beside_codecs(content, task=pack.task, config=elsewhere)
    with pytest.raises(PackError):
        beside_codecs(content[:-1], task=pack.task, config=pack.config)
    assert beside_codecs(content, task=load_task("neighborhood"), config=pack.config) is None
