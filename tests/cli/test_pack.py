"""`hoir pack`, and its file in the place of a model pack's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hoir_ray
from hoir_ray.packs.codec.file import encode
from hoir_ray.pictures.load import load_picture
from hoir_ray.pictures.save import save_picture
from tests.command import Hoir
from tests.packs.codec.small import codes_of, small_pack

SMALL = ("data.image=picture.png", "network.hidden.width=6", "training.max_epochs=2")


@pytest.fixture
def folder(hoir: Hoir) -> Path:
    """A small network trained on a picture in the working directory."""
    save_picture(load_picture("sample:astronaut", max_side=32).float() / 255, Path("picture.png"))
    assert hoir("train", "image", *SMALL, "--to", "net").code == 0
    return Path("net")


def test_a_pack_becomes_one_file_that_every_command_takes(hoir: Hoir, folder: Path) -> None:
    packed = hoir("pack", folder, "--out", "photo.hoir")
    assert packed.code == 0
    size = Path("photo.hoir").stat().st_size
    assert packed.out.startswith(f"wrote photo.hoir: {size:,} bytes (")
    assert hoir("render", "photo.hoir", "--out", "a.png", "--size", "40x30").out == "wrote a.png: 40 x 30 pixels\n"
    evaluated = hoir("evaluate", "photo.hoir", "--image", "picture.png", "--json")
    told = json.loads(hoir("pack", folder, "--out", "again.hoir", "--json").out)
    assert told["stored_bytes"] == size
    assert json.loads(evaluated.out)["val_psnr_db"] == pytest.approx(told["stored_psnr_db"], abs=1e-6)
    assert Path("again.hoir").read_bytes() == Path("photo.hoir").read_bytes()
    assert hoir_ray.load("photo.hoir").render().size == (32, 32)
    assert hoir_ray.load("photo.hoir")._repr_png_().startswith(b"\x89PNG")


def test_a_network_is_compared_with_its_own_picture(hoir: Hoir, folder: Path) -> None:
    small = hoir("evaluate", folder, "--image", "picture.png", "data.max_side=16", "--json")
    assert (small.code, small.err) == (0, "")
    whole = load_picture("sample:astronaut", max_side=32)
    save_picture(whole[:20].float() / 255, Path("part.png"))
    refused = hoir("evaluate", folder, "--image", "part.png")
    assert refused.code == 2
    assert "is 32 x 20 pixels, and net is one picture of 32 x 32; only the same picture" in refused.err
    save_picture(whole.flip(0).float() / 255, Path("flipped.png"))
    other = hoir("evaluate", folder, "--image", "flipped.png")
    assert other.code == 0
    assert "measured is how near it comes to" in other.err
    assert "flipped.png, which says little if that is another" in other.err


def test_other_tasks_have_no_one_picture(hoir: Hoir, tmp_path: Path) -> None:
    settings = ["network.hidden.width=4", "training.max_epochs=1", "data.max_side=24", "--to", "around"]
    assert hoir("train", "neighborhood", *settings).code == 0
    refused = hoir("evaluate", "around", "--image", "picture.png")
    assert refused.code == 2
    assert (
        "--image: networks of task 'neighborhood' are not of one picture; name their data instead, as " in refused.err
    )
    assert "data.images=..." in refused.err


def test_a_file_is_as_small_as_asked(hoir: Hoir, folder: Path) -> None:
    assert hoir("pack", folder, "--out", "s.hoir", "--max-bytes", 200).code == 0
    assert Path("s.hoir").stat().st_size <= 200
    refused = hoir("pack", folder, "--out", "t.hoir", "--max-bytes", 10)
    assert refused.code == 2
    assert "error: --max-bytes 10: cannot be met; the nearest form found has" in refused.err
    assert not Path("t.hoir").exists()


def test_bits_need_no_data(hoir: Hoir, folder: Path) -> None:
    Path("picture.png").unlink()
    assert hoir("pack", folder, "--out", "b.hoir", "--bits", 6).code == 0
    missing = hoir("pack", folder, "--out", "c.hoir")
    assert missing.code == 2
    assert "picture.png" in missing.err


def test_fine_tuning_is_not_worse(hoir: Hoir, folder: Path) -> None:
    plain = json.loads(hoir("pack", folder, "--out", "p.hoir", "--bits", 4, "data.image=picture.png", "--json").out)
    quantization = ("training.quantization.fraction=8", "training.quantization.lr=0.005")
    assert hoir("train", "image", *SMALL, *quantization, "--to", "tuned").code == 0
    tuned = json.loads(hoir("pack", "tuned", "--out", "t.hoir", "--bits", 4, "--fine-tune", "--json").out)
    assert tuned["stored_psnr_db"] > plain["stored_psnr_db"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--out", "photo.png"), "error: --out photo.png: must end in .hoir"),
        (("--out", "x.hoir", "--bits", "5", "--max-bytes", "9"), "error: --max-bytes and --bits: give one of them"),
        (("--out", "x.hoir", "network.segments=3"), "error: 'network.segments=3': only the data can be another"),
    ],
)
def test_what_cannot_be_packed_is_one_line(hoir: Hoir, arguments: tuple[str, ...], line: str) -> None:
    Path("net.hoir").write_bytes(encode(small_pack(), codes_of(small_pack())))
    outcome = hoir("pack", "net.hoir", *arguments)
    assert outcome.code == 2
    assert line in outcome.err


def test_a_file_without_its_data_asks_for_it_and_damage_is_one_line(hoir: Hoir, folder: Path) -> None:
    hoir("pack", folder, "--out", "photo.hoir", "--bits", "8")
    assert "photo.hoir: does not name its data; give it as data.image=..." in hoir("evaluate", "photo.hoir").err
    content = Path("photo.hoir").read_bytes()
    Path("photo.hoir").write_bytes(content[:-7])
    broken = hoir("render", "photo.hoir", "--out", "a.png")
    assert broken.code == 2
    assert broken.err.startswith("error: photo.hoir: damaged; the checksum does not fit")
    Path("photo.hoir").write_bytes(b"")
    assert "photo.hoir: is not a .hoir file" in hoir("render", "photo.hoir", "--out", "a.png").err
