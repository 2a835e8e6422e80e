"""A dictionary read from parquet: the pixels and positions it gives, and what of it cannot be read."""

from __future__ import annotations

import io
import logging

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from hoir_ray.errors import DataError
from hoir_ray.pictures.coordinates import pixel_positions
from hoir_ray.tasks.text_to_image import TASK
from hoir_ray.tasks.text_to_image.config import RenderOptions, TextToImageConfig
from hoir_ray.tasks.text_to_image.data import HASHED, dictionary_of

SIZES = [(5, 9), (8, 4), (6, 6), (3, 11)]


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pictures() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]


@pytest.fixture
def table_file(tmp_path):
    def save(columns: dict[str, list], name: str = "a.parquet", **options) -> str:
        parquet.write_table(pa.table(columns), tmp_path / name, **options)
        return str(tmp_path / name)

    return save


def config(*files: str, training: dict | None = None, **data) -> TextToImageConfig:
    settings = {"text_model": "hashing", "embedding_size": 16, **data, "files": files}
    return TextToImageConfig.model_validate(
        {"data": settings, "training": training or {}, "network": {"hidden": {"width": 6}}}
    )


def good_columns() -> dict[str, list]:
    return {"caption": [f"caption {i}" for i in range(4)], "jpg_0": [encoded(p) for p in pictures()]}


@pytest.mark.parametrize("num_rotations", [1, 3])
def test_every_pixel_with_its_caption_and_position(table_file, num_rotations):
    data = TASK.data(config(table_file(good_columns(), row_group_size=2), num_rotations=num_rotations))
    order = torch.randperm(data.train.num_samples)
    (dictionary, caption, position), colour = data.train(order)
    restored = torch.empty_like(order).index_put_((order,), torch.arange(len(order)))
    expected_caption = torch.arange(4).repeat_interleave(torch.tensor([h * w for h, w in SIZES]))
    assert torch.equal(caption[restored], expected_caption)
    expected = torch.cat([torch.from_numpy(p).flatten(0, 1) for p in pictures()]).float() * (2 / 255) - 1
    torch.testing.assert_close(colour[restored], expected)
    positions = torch.cat([pixel_positions(*size, num_rotations=num_rotations) for size in SIZES])
    torch.testing.assert_close(position[restored], positions, atol=1e-6, rtol=0)
    assert dictionary.shape == (4, 16)


def test_several_files_and_max_images(table_file):
    first = table_file({"caption": ["a", "b"], "jpg_0": [encoded(p) for p in pictures()[:2]]}, "1.parquet")
    second = table_file({"caption": ["c", "d"], "jpg_0": [encoded(p) for p in pictures()[2:]]}, "2.parquet")
    assert TASK.data(config(first, second)).facts.captions == ("a", "b", "c", "d")
    limited = TASK.data(config(first, second, max_images=3))
    assert limited.facts.captions == ("a", "b", "c")
    assert limited.facts.sizes == ("9x5", "4x8", "6x6")


def test_a_caption_given_twice_keeps_its_first_picture(table_file):
    columns = good_columns() | {"caption": ["a", "b", "a", "c"]}
    assert TASK.data(config(table_file(columns))).facts.sizes == ("9x5", "4x8", "11x3")


def test_other_columns_and_structs_of_bytes(table_file):
    cells = [{"bytes": encoded(p), "path": None} for p in pictures()]
    path = table_file({"text": list("abcd"), "image": cells})
    assert TASK.data(config(path, caption_column="text", image_column="image")).train.num_samples == 146


def test_max_side_shrinks(table_file):
    data = TASK.data(config(table_file({"caption": ["a"], "jpg_0": [encoded(pictures()[0])]}), max_side=4))
    assert data.facts.sizes == ("4x2",)


def test_validation_takes_evenly_spread_pixels_of_each_picture(table_file):
    data = TASK.data(config(table_file(good_columns()), val_pixels_per_picture=10))
    (_, caption, position), _ = data.val(torch.arange(data.val.num_samples))
    assert torch.bincount(caption).tolist() == [10] * 4
    for number in range(4):
        own = position[caption == number]
        assert own[0].tolist() == pytest.approx([-1, -1])
        assert own[-1].tolist() == pytest.approx([1, 1])


def test_score_is_the_mean_over_pictures_and_names_the_worst(table_file, caplog):
    data = TASK.data(config(table_file(good_columns())))
    (_, caption, _), target = data.val(torch.arange(data.val.num_samples))
    distance = torch.tensor([0.02, 0.02, 0.2, 0.02])[caption].unsqueeze(1)
    with caplog.at_level(logging.INFO):
        metrics = TASK.score(target - distance * target.sign(), target, data)
    assert metrics["val_psnr_worst_db"] == pytest.approx(20, abs=0.01)
    assert metrics["val_psnr_db"] == pytest.approx((3 * 40 + 20) / 4, abs=0.01)
    assert "the worst picture, at 20.00 dB, is 'caption 2'" in caplog.text


def test_precomputed_embeddings(table_file):
    vectors = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    path = table_file(good_columns() | {"vector": list(vectors)})
    data = TASK.data(config(path, embedding_column="vector", text_model="not-installed"))
    (dictionary, _, _), _ = data.train(torch.arange(1))
    torch.testing.assert_close(dictionary, torch.from_numpy(vectors))
    remembered = dictionary_of(data.facts)
    assert list(remembered) == [f"caption {i}" for i in range(4)]
    assert torch.equal(torch.stack(list(remembered.values())), dictionary)


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ([[1.0] * 8] * 4, r"data.embedding_size: must be 8 for data.embedding_column 'vector', got 16"),
        ([[1.0] * 16] * 3 + [[1.0] * 9], r"all must have 16 numbers, one has 9"),
        ([[1.0] * 16] * 2 + [None] * 2, r"row 3: the embedding must be a list of numbers"),
        ([[float("nan")] * 16] * 4, r"the embedding must be a list of finite numbers"),
    ],
)
def test_embeddings_that_do_not_fit(table_file, vectors, said):
    path = table_file(good_columns() | {"vector": vectors})
    with pytest.raises(DataError, match=said):
        TASK.data(config(path, embedding_column="vector"))


@pytest.mark.parametrize("missing", ["caption", "jpg_0"])
def test_missing_column(table_file, missing):
    columns = good_columns()
    columns["other"] = columns.pop(missing)
    with pytest.raises(DataError, match=rf"a.parquet: must have the column '{missing}', has .*other"):
        TASK.data(config(table_file(columns)))


def many(num_bad: int, **bad) -> dict[str, list]:
    good = encoded(pictures()[0])
    columns = {"caption": [f"caption {i}" for i in range(20)], "jpg_0": [good] * 20}
    for name, value in bad.items():
        columns[name] = [*columns[name][: 20 - num_bad], *[value] * num_bad]
    return columns


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"caption": None}, "row 20: the caption must be text, got None"),
        ({"caption": "  "}, "row 20: the caption must be text, got '  '"),
        ({"jpg_0": None}, "row 20: the picture must be bytes, got NoneType"),
        ({"jpg_0": b""}, "row 20: empty"),
        ({"jpg_0": b"no picture"}, "row 20: is no picture"),
        ({"jpg_0": encoded(np.zeros((1, 9, 3), np.uint8))}, "row 20: both sides of the picture must be at least 2"),
    ],
)
def test_a_few_unusable_rows_are_named_and_left_out(table_file, caplog, bad, said):
    data = TASK.data(config(table_file(many(1, **bad))))
    assert len(data.facts.captions) == 19
    assert "1 of 20 pictures cannot be used and are left out" in caplog.text
    assert said in caplog.text


def test_more_than_a_tenth_unusable_stops(table_file):
    with pytest.raises(DataError, match=r"3 of 20 pictures cannot be used, more than a tenth: .*row 18: is no picture"):
        TASK.data(config(table_file(many(3, jpg_0=b"no picture"))))


@pytest.mark.parametrize(
    "captions",
    [
        ["a", "b", "c", "d"],
        ["a" * 10_000, "b" * 10_000, "a " * 5_000, "c"],
        ["кот на окне", "猫が窓辺にいる", "قطة على النافذة", "🐈🪟 é"],
        ["red\x1b[31m cat", "tab\tcat", "\u202ecat back", "line\ncat"],
    ],
)
def test_any_caption_is_taken_and_draws_its_own_picture(table_file, captions, caplog):
    settings = config(table_file(good_columns() | {"caption": captions}), embedding_size=384)
    data = TASK.data(settings)
    assert data.facts.captions == tuple(captions)
    assert data.notes == (HASHED,)
    stored = TASK.facts.model_validate_json(data.facts.model_dump_json())
    network = TASK.network(settings)
    drawn = [TASK.render(network, settings, stored, RenderOptions(caption=c, size="4x4")) for c in captions]
    assert all(not torch.equal(drawn[0], other) for other in drawn[1:])
    _, target = data.val(torch.arange(data.val.num_samples))
    with caplog.at_level(logging.INFO):
        TASK.score(target, target, data)
    assert "\x1b" not in caplog.text
    assert len(caplog.text) < 500


def test_captions_that_cannot_be_told_apart_are_named(table_file):
    data = TASK.data(config(table_file(good_columns() | {"caption": ["A cat", "a CAT!", "...", "?!"]})))
    assert data.notes == (
        HASHED,
        "the captions 'A cat' and 'a CAT!' have the same embedding: one picture is drawn for both",
        "2 such pairs",
    )


def test_one_picture_alone(table_file):
    settings = config(table_file({name: column[:1] for name, column in good_columns().items()}))
    data = TASK.data(settings)
    assert data.facts.sizes == ("9x5",)
    network = TASK.network(settings)
    assert TASK.render(network, settings, data.facts, RenderOptions()).shape == (1, 5, 9, 3)
    assert TASK.pictures(network, data)["preview"].shape[2] == 3
    way = RenderOptions.model_validate({"from": "caption 0", "to": "caption 0", "num_frames": 3})
    frames = TASK.render(network, settings, data.facts, way)
    torch.testing.assert_close(frames[0], frames[2])


def test_a_dictionary_that_does_not_fit_is_refused_with_the_number_that_does(table_file):
    large = encoded(np.zeros((300, 400, 3), np.uint8))
    path = table_file({"caption": [f"caption {i}" for i in range(5)], "jpg_0": [large] * 5})
    with pytest.raises(DataError, match=r"data.memory_mb: 1 MB are too few for 100 pictures; set data.max_images to 2"):
        TASK.data(config(path, max_side=None, memory_mb=1))
    assert len(TASK.data(config(path, max_side=None, memory_mb=1, max_images=2)).facts.captions) == 2
    huge = table_file({"caption": ["one"], "jpg_0": [encoded(np.zeros((700, 700, 3), np.uint8))]})
    with pytest.raises(DataError, match=r"the first does not fit, shrink pictures by data.max_side"):
        TASK.data(config(huge, max_side=None, memory_mb=1))


def test_validation_looks_at_a_bounded_number_of_pixels(table_file, monkeypatch):
    monkeypatch.setattr("hoir_ray.tasks.text_to_image.data.MAX_VAL_PIXELS", 40)
    data = TASK.data(config(table_file(good_columns())))
    assert torch.bincount(data.val.picture_of_samples()).tolist() == [10] * 4
    assert data.train.num_samples == sum(h * w for h, w in SIZES)


def test_no_rows(table_file):
    empty = {"caption": pa.array([], pa.string()), "jpg_0": pa.array([], pa.binary())}
    with pytest.raises(DataError, match="no rows, expected captions with pictures"):
        TASK.data(config(table_file(empty)))


def test_broken_files(tmp_path, table_file):
    whole = (tmp_path / "a.parquet", table_file(good_columns()))[0].read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.parquet").write_bytes(b"")
    (tmp_path / "hole.parquet").write_bytes(whole[:40] + bytes(len(whole) - 80) + whole[-40:])
    for name in ("cut", "empty", "hole"):
        with pytest.raises(DataError, match=rf"{name}.parquet: is not a whole parquet file: "):
            TASK.data(config(str(tmp_path / f"{name}.parquet")))
    with pytest.raises(DataError, match=r"nowhere.parquet: no such file"):
        TASK.data(config("nowhere.parquet"))
    with pytest.raises(DataError, match="is a folder, expected a parquet file"):
        TASK.data(config(str(tmp_path)))


def test_sample_photos_need_no_file():
    data = TASK.data(config("sample:photos", max_side=16))
    assert "the face of a ginger cat with green eyes" in data.facts.captions
    assert data.train.num_samples > 10 * 100
