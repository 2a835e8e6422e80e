"""Every kind of picture becomes the right RGB bytes, and every broken one becomes one line that names the file."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hoir_ray.errors import DataError, RequestError, StorageError
from hoir_ray.pictures import load
from hoir_ray.pictures.load import decode_picture, load_picture
from hoir_ray.pictures.save import contact_sheet, save_animation, save_frames, save_picture


@pytest.fixture
def rgb() -> np.ndarray:
    ramp = np.linspace(0, 255, 12).astype(np.uint8)
    return np.stack([np.tile(ramp, (8, 1)), np.tile(ramp[:8, None], (1, 12)), np.full((8, 12), 90, np.uint8)], axis=2)


def saved(folder: Path, name: str, picture: Image.Image, **options) -> Path:
    path = folder / name
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp", "ppm"])
def test_lossless_formats_come_back_exactly(tmp_path, rgb, suffix):
    loaded = load_picture(saved(tmp_path, f"a.{suffix}", Image.fromarray(rgb)))
    assert loaded.dtype == torch.uint8
    assert torch.equal(loaded, torch.from_numpy(rgb))


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_formats_come_back_closely(tmp_path, rgb, suffix):
    loaded = load_picture(saved(tmp_path, f"a.{suffix}", Image.fromarray(rgb), quality=98))
    assert loaded.shape == (8, 12, 3)
    assert (loaded.float() - torch.from_numpy(rgb).float()).abs().mean() < 8


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0], rgba[:2, :, 3], rgba[2:, :, 3] = 200, 0, 255
    loaded = load_picture(saved(tmp_path, "a.png", Image.fromarray(rgba)))
    assert loaded[0, 0].tolist() == [255, 255, 255]
    assert loaded[3, 3].tolist() == [200, 0, 0]


def test_palette_with_a_transparent_colour(tmp_path):
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((0, 0), 0)
    loaded = load_picture(saved(tmp_path, "a.png", picture, transparency=0))
    assert loaded[0, 0].tolist() == [255, 255, 255]
    assert loaded[1, 1].tolist() == [40, 50, 60]


@pytest.mark.parametrize(("mode", "expected"), [("L", 77), ("1", 255), ("LA", 77)])
def test_grey_becomes_three_equal_channels(tmp_path, mode, expected):
    picture = Image.new("L", (5, 3), 77).convert(mode) if mode != "1" else Image.new("1", (5, 3), 1)
    assert load_picture(saved(tmp_path, "a.png", picture))[1, 2].tolist() == [expected] * 3


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    wide = np.array([[0, 257, 32_896, 65_535]] * 3, np.uint16)
    for name in ("a.png", "a.tiff"):
        assert load_picture(saved(tmp_path, name, Image.fromarray(wide)))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_float_pixels_must_lie_in_zero_to_one(tmp_path):
    good = saved(tmp_path, "good.tiff", Image.fromarray(np.full((3, 3), 0.5, np.float32)))
    assert load_picture(good)[0, 0].tolist() == [128] * 3
    bad = saved(tmp_path, "bad.tiff", Image.fromarray(np.full((3, 3), 7.0, np.float32)))
    with pytest.raises(DataError, match=r"bad.tiff: float pixels must lie in \[0, 1\], got \[7, 7\]"):
        load_picture(bad)


def test_cmyk(tmp_path):
    loaded = load_picture(saved(tmp_path, "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=98))
    red, green, blue = loaded[4, 4].tolist()
    assert red > 240
    assert max(green, blue) < 20


def test_exif_rotation_is_applied(tmp_path, rgb):
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate 90 clockwise to see it upright"
    loaded = load_picture(saved(tmp_path, "a.png", Image.fromarray(rgb), exif=exif))
    assert torch.equal(loaded, torch.from_numpy(np.rot90(rgb, k=-1).copy()))


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff"])
def test_first_frame_of_an_animation(tmp_path, suffix):
    first, second = Image.new("RGB", (6, 4), (255, 0, 0)), Image.new("RGB", (6, 4), (0, 0, 255))
    loaded = load_picture(saved(tmp_path, f"a.{suffix}", first, save_all=True, append_images=[second]))
    assert loaded.shape == (4, 6, 3)
    assert loaded[0, 0, 0] > 200 > 50 > loaded[0, 0, 2]


def test_max_side_shrinks_and_never_enlarges(tmp_path, rgb):
    path = saved(tmp_path, "a.png", Image.fromarray(rgb))
    assert load_picture(path, max_side=6).shape == (4, 6, 3)
    assert load_picture(path, max_side=100).shape == (8, 12, 3)
    sliver = saved(tmp_path, "b.png", Image.new("RGB", (200, 1)))
    assert load_picture(sliver, max_side=4).shape == (1, 4, 3)


@pytest.mark.parametrize("name", list(load.SAMPLES))
def test_samples_lie_in_the_installed_wheel(name):
    loaded = load_picture(f"sample:{name}", max_side=64)
    assert loaded.shape[2] == 3
    assert loaded.float().std() > 5


def test_unknown_sample_names_the_nearest():
    with pytest.raises(DataError, match=r"sample:astronut: no such sample. Did you mean 'astronaut'"):
        load_picture("sample:astronut")


def header_only_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"")
    )


@pytest.mark.parametrize("side", [10_001, 12_000, 60_000])
def test_too_many_pixels_is_refused_from_the_header(tmp_path, side):
    (tmp_path / "big.png").write_bytes(header_only_png(side, side))
    with pytest.raises(DataError, match=r"big.png: must have at most 100,000,000 pixels"):
        load_picture(tmp_path / "big.png")


def encoded(rgb: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.kron(rgb, np.ones((16, 16, 1), np.uint8))).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_cut_off_file(tmp_path, rgb, kind):
    whole = encoded(rgb, kind)
    path = tmp_path / "cut.bin"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match=r"cut.bin: ") as caught:
        load_picture(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"just some words\n", "is no picture"), (b"\x89PNG\r\n\x1a\n", "broken|no picture")],
)
def test_no_picture(tmp_path, content, said):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=f"x.png: .*({said})"):
        load_picture(tmp_path / "x.png")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match=r"newt.png: no such file"):
        load_picture(tmp_path / "newt.png")
    with pytest.raises(DataError, match="is a folder, expected a picture file"):
        load_picture(tmp_path)


def test_decoding_bytes(rgb):
    assert decode_picture(encoded(rgb, "PNG"), name="row 3", max_side=6).shape == (4, 6, 3)
    with pytest.raises(DataError, match=r"row 3: empty"):
        decode_picture(b"", name="row 3")
    with pytest.raises(DataError, match=r"row 3: is no picture"):
        decode_picture(b"abc", name="row 3")


def test_contact_sheet_places_frames_in_reading_order():
    frames = torch.arange(5.0).div(10).reshape(5, 1, 1, 1).expand(5, 4, 6, 3)
    sheet = contact_sheet(frames, num_columns=2, gap=1)
    assert sheet.shape == (3 * 5 - 1, 2 * 7 - 1, 3)
    assert sheet[0, 0, 0] == 0
    assert sheet[0, 7, 0] == pytest.approx(0.1)
    assert sheet[10, 0, 0] == pytest.approx(0.4)
    assert sheet[10, 7, 0] == 1
    assert contact_sheet(frames[:4], gap=0).shape == (8, 12, 3)


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp"])
def test_saved_picture_comes_back(tmp_path, suffix):
    frame = torch.full((16, 16, 3), 0.5)
    save_picture(frame, tmp_path / "new" / f"a.{suffix}")
    assert (load_picture(tmp_path / "new" / f"a.{suffix}").float() - 128).abs().max() <= 2
    assert [p.name for p in (tmp_path / "new").iterdir()] == [f"a.{suffix}"]


def test_out_of_range_and_undefined_values_are_drawn(tmp_path):
    frame = torch.tensor([[[-1.0, 0.5, 2.0], [float("nan"), float("inf"), 0.0]]])
    save_picture(frame, tmp_path / "a.png")
    assert load_picture(tmp_path / "a.png").tolist() == [[[0, 128, 255], [0, 255, 0]]]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_saved_animation_keeps_every_frame(tmp_path, suffix):
    frames = torch.stack([torch.full((8, 8, 3), i / 4) for i in range(5)])
    save_animation(frames, tmp_path / f"a.{suffix}")
    with Image.open(tmp_path / f"a.{suffix}") as animation:
        assert animation.n_frames == 5


def test_save_frames_follows_the_suffix(tmp_path):
    frames = torch.rand(4, 8, 8, 3)
    save_frames(frames, tmp_path / "a.gif")
    save_frames(frames, tmp_path / "a.png")
    save_frames(frames[:1], tmp_path / "b.png")
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 4
    assert load_picture(tmp_path / "a.png").shape == (18, 18, 3)
    assert load_picture(tmp_path / "b.png").shape == (8, 8, 3)


def test_where_a_picture_cannot_be_written(tmp_path):
    with pytest.raises(RequestError, match=r"a.txt: must end in one of .png, .jpg, .jpeg, .webp, got '.txt'"):
        save_picture(torch.zeros(2, 2, 3), tmp_path / "a.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        save_picture(torch.zeros(2, 2, 3), tmp_path / "file" / "a.png")


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


@pytest.mark.parametrize(
    "note",
    [
        png_chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b"x" * 5_000_000)),
        png_chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(b"y" * 5_000_000)),
        png_chunk(b"tEXt", b"k\0" + b"z" * 70_000_000),
        png_chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(5_000_000))),
        png_chunk(b"eXIf", b"not an EXIF"),
        png_chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff"),
        png_chunk(b"eXIf", b""),
    ],
    ids=["zTXt", "iTXt", "tEXt", "iCCP", "eXIf no", "eXIf cut", "eXIf empty"],
)
def test_notes_in_a_png_do_not_break_it(tmp_path, rgb, note):
    plain = saved(tmp_path, "plain.png", Image.fromarray(rgb)).read_bytes()
    end = 8 + 25  # the signature and the first chunk, IHDR
    (tmp_path / "a.png").write_bytes(plain[:end] + note + plain[end:])
    assert np.array_equal(load_picture(tmp_path / "a.png").numpy(), rgb)
