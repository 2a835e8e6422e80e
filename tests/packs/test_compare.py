"""Networks' files beside other codecs: real networks, files and encoders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hoir_ray.errors import DataError, RequestError
from hoir_ray.packs.codec.file import decode
from hoir_ray.packs.compare import File, compare, files_of_pack, is_pack
from hoir_ray.packs.quantization.form import find_form
from hoir_ray.packs.quantization.goal import Goal
from hoir_ray.packs.train import train_pack
from hoir_ray.pictures import codecs
from hoir_ray.pictures.codecs import codec_names
from hoir_ray.pictures.load import load_picture
from hoir_ray.pictures.save import save_picture
from hoir_ray.tasks import load_task
from tests.packs.quantization.test_form import Trained, train_small


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train_small()


@pytest.fixture(scope="module")
def files(trained: Trained) -> list[File]:
    found = [find_form(trained.pack, trained.data, goal=Goal(trade=t)).content for t in (4.0, 0.5)]
    path = Path("net.hoir")
    return [
        File(f"net {i}", c, replace(trained.pack, network=decode(c, path=path).network)) for i, c in enumerate(found)
    ]


def test_bytes_are_those_of_files_and_each_codec_stays_within_them(files: list[File]) -> None:
    said: list[str] = []
    found = compare(files[::-1], name="net", say=said.append)
    assert [p.size_bytes for p in found.ours] == sorted(len(f.content) for f in files)
    assert found.ours[0].psnr_db < found.ours[1].psnr_db
    assert set(found.curves.codecs) == set(codec_names())
    for curve in found.curves.codecs.values():
        sizes, psnrs = [p.size_bytes for p in curve], [p.psnr_db for p in curve]
        assert sizes == sorted(sizes)
        assert psnrs == sorted(psnrs)
        assert max(sizes) > found.ours[-1].size_bytes
    for point, equal in zip(found.ours, found.equal, strict=True):
        assert all(e is None or e.size_bytes <= point.size_bytes for e in equal.values())
    assert said == [f"encoding as {', '.join(codec_names())}"]
    for panel in found.panels:
        assert next(iter(panel.shown)).startswith(f"network, {panel.size_bytes:,} bytes")
        assert all(picture.shape == found.original.shape for picture in panel.shown.values())
        assert all(picture.dtype == torch.uint8 for picture in panel.shown.values())


def test_a_codec_that_this_machine_lacks_is_named(files: list[File], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs.features, "check", lambda feature: feature == "jpg")
    found = compare(files[:1], name="net")
    assert list(found.curves.codecs) == ["JPEG"]
    assert found.missing == ("WebP", "AVIF", "JPEG 2000")


def test_a_folder_is_rounded_more_and_less_and_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    save_picture(load_picture("sample:astronaut", max_side=48).float() / 255, photo)
    folder, _ = train_pack(
        "image",
        [f"data.image={photo}", "data.max_side=24", "network.hidden.width=3", "training.max_epochs=2"],
        to=tmp_path / "net",
        trackers=(),
        show=lambda epoch, max_epochs: None,
    )
    several = files_of_pack(folder, [], say=lambda text: None)
    assert len(several) > 1
    assert len({f.label for f in several}) == len(several)
    (tmp_path / "net.hoir").write_bytes(several[0].content)
    assert is_pack(folder)
    assert is_pack(tmp_path / "net.hoir")
    assert not is_pack(tmp_path)
    with pytest.raises(RequestError, match=r"give it as data\.image="):
        files_of_pack(tmp_path / "net.hoir", [], say=lambda text: None)
    (one,) = files_of_pack(tmp_path / "net.hoir", [f"data.image={photo}"], say=lambda text: None)
    assert compare([one], name="net").ours[0].size_bytes == (tmp_path / "net.hoir").stat().st_size


def test_what_cannot_be_compared_is_named(files: list[File], trained: Trained) -> None:
    def on(**data: object) -> File:
        config = trained.pack.config
        changed = config.model_copy(update={"data": config.data.model_copy(update=data)})
        return replace(files[0], pack=replace(files[0].pack, config=changed))

    with pytest.raises(DataError, match=r"gone\.png"):
        compare([on(image="gone.png")], name="net")
    with pytest.raises(RequestError, match="no network is of a picture of 9 x 9 pixels"):
        compare([on(max_side=9)], name="net")
    other = replace(files[0], pack=replace(files[0].pack, task=load_task("neighborhood")))
    with pytest.raises(RequestError, match="task 'neighborhood' are not of one picture"):
        compare([other], name="net")
