"""Pictures of a folder as people keep them: of many kinds, linked, and among what operating systems leave."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, features

from hoir_ray.errors import DataError
from hoir_ray.packs.train import train_pack
from hoir_ray.pictures.folder import find_pictures_below
from hoir_ray.tasks.inputs import look_at
from hoir_ray.tasks.random_interpolation.folder import find_pictures


def save(path: Path, colour: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 12), (colour, 0, 0)).save(path, format={".jfif": "JPEG", "": "PNG"}.get(path.suffix))
    return path


def names(folder: Path) -> list[str]:
    return [Path(p).relative_to(folder).as_posix() for p in find_pictures_below(folder).paths]


def test_everything_that_pillow_opens_is_taken(tmp_path: Path) -> None:
    kinds = ["a.jpg", "b.webp", "c.TIF", "d.jfif", "e.gif", "f.bmp", "h.qoi", "i.ppm", "nameless", "j.dat"]
    kinds[:0] = ["g.avif"] if features.check("avif") else []  # which not every Pillow is built with
    for name in kinds[:-1]:
        save(tmp_path / name)
    save(tmp_path / "nameless").rename(tmp_path / "j.dat")
    save(tmp_path / "nameless")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "film.mpg").write_bytes(b"\0\0\1\xb3" + bytes(100))
    found = find_pictures(str(tmp_path))
    assert sorted(Path(p).name for p in found.paths) == sorted(kinds)
    assert found.describe("here") == (
        f"here: {len(kinds)} pictures are taken; 2 other files are no pictures that Pillow opens (1 .mpg, 1 .txt)"
    )


def test_links_are_followed_once(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "own.png")
    save(tmp_path / "elsewhere" / "deep" / "linked.png", 50)
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "a link.png").symlink_to(tmp_path / "photos" / "own.png")
    (tmp_path / "photos" / "single.png").symlink_to(save(tmp_path / "one.png", 20))
    (tmp_path / "photos" / "dead.png").symlink_to(tmp_path / "gone.png")
    assert names(tmp_path / "photos") == ["again/deep/linked.png", "own.png", "single.png"]
    shipped = look_at(tmp_path / "photos").files
    assert sorted(shipped) == ["photos/again/deep/linked.png", "photos/own.png", "photos/single.png"]


def test_what_operating_systems_leave_is_nothing(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg")
    for junk in ("._a.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/a.jpg", "@eaDir/a.jpg", ".git/a.jpg"):
        (tmp_path / junk).parent.mkdir(exist_ok=True)
        (tmp_path / junk).write_bytes(b"\0\5\26\7")
    found = find_pictures_below(tmp_path)
    assert [Path(p).name for p in found.paths] == ["a.jpg"]
    assert found.left_out == {}


def test_a_broken_picture_is_missed_and_not_passed_over_as_something_else(tmp_path: Path) -> None:
    (tmp_path / "broken.webp").write_bytes(b"RIFF")
    assert names(tmp_path) == ["broken.webp"]


def test_a_folder_without_pictures_says_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.heic").write_bytes(b"....ftypheic")
    with pytest.raises(DataError, match=r"no pictures in it or below it; 1 other files .* \(1 \.heic\)"):
        find_pictures(str(tmp_path))


def test_training_says_what_it_takes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "photos" / "a.webp")
    save(tmp_path / "photos" / "b.png")
    (tmp_path / "photos" / "b.txt").write_text("about b")
    settings = [f"data.folder={tmp_path / 'photos'}", "data.size=8", "training.max_epochs=1"]
    train_pack("random_interpolation", settings, to=tmp_path / "pack", trackers=[], show=lambda epoch, of: None)
    assert "photos: 2 pictures are taken; 1 other files are no pictures that Pillow opens (1 .txt)" in caplog.text
