"""Samples against the pictures they are drawn from, streams that repeat themselves, and folders that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from hoir_ray.errors import DataError
from hoir_ray.tasks.random_interpolation import TASK
from hoir_ray.tasks.random_interpolation.config import RandomInterpolationConfig, RandomInterpolationFacts
from hoir_ray.tasks.random_interpolation.data import split
from hoir_ray.tasks.random_interpolation.folder import PictureStream, find_pictures


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures of one colour each, of different sizes and suffixes, some in folders below."""
    for number in range(12):
        pixels = np.full((10 + number, 24 - number, 3), 20 * number, np.uint8)
        path = tmp_path / ("below" if number % 3 else "") / f"{number:02d}.{['png', 'PNG', 'png'][number % 3]}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def config(folder, *, seed: int = 0, **data) -> RandomInterpolationConfig:
    settings = {"size": 8, "num_feature_pixels": 5, "folder": str(folder), "sampler": "radial", **data}
    return RandomInterpolationConfig.model_validate({"data": settings, "training": {"seed": seed}})


def everything(samples):
    (features,), target = samples(torch.arange(samples.num_samples))
    return features, target


def test_of_plain_pictures_every_feature_has_the_targets_colour(folder):
    data = TASK.data(config(folder))
    features, target = everything(data.train)
    assert features.shape == (9 * 64, 5 * (3 + 4))
    torch.testing.assert_close(features[:, :15].view(-1, 5, 3), target.unsqueeze(1).expand(-1, 5, 3))
    assert len(target.unique(dim=0)) == 9


@pytest.mark.parametrize("sampler", ["radial", "uniform"])
@pytest.mark.parametrize("flips", [False, True])
def test_features_are_colours_where_their_positions_say(tmp_path, sampler, flips):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    settings = config(tmp_path, sampler=sampler, random_flips=flips, num_rotations=1)
    features, target = everything(TASK.data(settings).train)
    picture = torch.from_numpy(pixels).float() * (2 / 255) - 1
    steps = (features[:, 15:].view(64, 5, 2) * 7 / 2).round().int()
    num_flipped = 0
    for number in range(64):
        row, column = divmod(number, 8)
        flipped = not torch.allclose(target[number], picture[row, column])
        num_flipped += flipped
        seen = picture.flip(1) if flipped else picture
        torch.testing.assert_close(target[number], seen[row, column])
        for colour, (right, down) in zip(features[number, :15].view(5, 3), steps[number].tolist(), strict=True):
            r, c = (i if i < 8 else 14 - i for i in (abs(row + down), abs(column + right)))
            torch.testing.assert_close(colour, seen[r, c])
    assert (15 < num_flipped < 50) == flips


def test_epochs_differ_and_repeat(folder):
    train = TASK.data(config(folder, num_rotations=1)).train
    epochs = []
    for epoch in (0, 1, 0):
        train.start_epoch(epoch)
        epochs.append(everything(train)[0])
    assert torch.equal(epochs[0], epochs[2])
    assert not torch.equal(epochs[0], epochs[1])


def test_seeds_differ(folder):
    first, again, other = (everything(TASK.data(config(folder, seed=s)).train)[0] for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_samples_per_picture(folder):
    data = TASK.data(config(folder, samples_per_picture=10, val_samples_per_picture=3))
    assert data.train.num_samples == 90
    assert data.val.num_samples == 2 * 3
    _, target = everything(data.train)
    assert torch.unique(target, dim=0, return_counts=True)[1].tolist() == [10] * 9


def test_splits_are_apart_and_whole(folder):
    paths = list(find_pictures(str(folder)).paths)
    assert len(paths) == 12
    splits = split(paths, train_fraction=0.5, seed=0)
    assert [len(splits[name]) for name in ("train", "val", "test")] == [6, 3, 3]
    assert sorted(path for of in splits.values() for path in of) == paths
    assert split(paths, train_fraction=0.5, seed=0) == splits != split(paths, train_fraction=0.5, seed=1)


@pytest.mark.parametrize(("num", "sizes"), [(1, [1, 1, 1]), (2, [1, 1, 1]), (3, [2, 1, 1]), (100, [80, 10, 10])])
def test_few_pictures(num, sizes):
    splits = split([str(i) for i in range(num)], train_fraction=0.8, seed=0)
    assert [len(splits[name]) for name in ("train", "val", "test")] == sizes


def test_test_split_for_evaluation(folder):
    val, test = (TASK.data(config(folder, validate_on=name, train_fraction=0.5)).val for name in ("val", "test"))
    colours = [set(map(tuple, everything(samples)[1].tolist())) for samples in (val, test)]
    assert not colours[0] & colours[1]


@pytest.fixture
def streamed(folder, monkeypatch):
    """A cache of four pictures, less than a megabyte."""
    from hoir_ray.tasks.random_interpolation import data as module

    def load(**settings):
        with monkeypatch.context() as patch:
            patch.setattr(module, "BYTES_PER_MB", 4 * 3 * 8 * 8)
            return TASK.data(config(folder, cache_mb=1, **settings)).train

    return load


def test_stream_shows_every_picture_each_epoch(streamed):
    train = streamed()
    assert len(train.table) == 4
    assert train.num_samples == 9 * 64
    targets = []
    for epoch in range(4):
        train.start_epoch(epoch)
        order = torch.randperm(train.num_samples, generator=torch.Generator().manual_seed(epoch))
        targets.append(torch.cat([train(index)[1] for index in order.split(16)]))
        assert len(targets[-1].unique(dim=0)) == 9
    assert torch.cat(targets).unique(dim=0, return_counts=True)[1].min() > 0.6 * 4 * 64


def test_stream_goes_on_as_if_never_stopped(streamed):
    def last_of(epochs: list[int]) -> torch.Tensor:
        train = streamed()
        for epoch in epochs:
            train.start_epoch(epoch)
            seen = [train(index) for index in torch.arange(train.num_samples).split(50)]
        return torch.cat([torch.cat([features, target], dim=1) for (features,), target in seen])

    assert torch.equal(last_of([0, 1, 2]), last_of([2]))


def run_through(folder) -> None:
    stream = PictureStream(find_pictures(str(folder)).paths, side=8, num_slots=3, seed=0, where="here")
    for position in range(13):
        stream.move_to(position, stream.table)


def test_unreadable_pictures_in_a_stream_are_counted(folder, caplog):
    (folder / "00.png").write_bytes(b"broken")
    run_through(folder)
    assert "here: 1 of 12 pictures cannot be used and are left out" in caplog.text
    (folder / "03.png").write_bytes(b"broken")
    with pytest.raises(DataError, match="here: 2 of 12 pictures cannot be used, more than a tenth"):
        run_through(folder)


def test_unreadable_pictures_are_named_and_left_out(folder, caplog):
    for number in range(12, 30):
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folder / f"{number}.png")
    (folder / "20.png").write_text("no picture")
    (folder / "21.png").write_bytes(b"")
    samples = TASK.data(config(folder))
    assert samples.train.num_pictures + samples.val.num_pictures < 30
    assert "pictures cannot be used and are left out: " in caplog.text


def test_more_than_a_tenth_unreadable_stops(folder):
    for number in range(6):
        next(folder.rglob(f"{number:02d}.*")).write_text("no picture")
    with pytest.raises(DataError, match=r"pictures cannot be used, more than a tenth: .*is no picture"):
        TASK.data(config(folder))


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder of pictures"):
        TASK.data(config(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"no pictures in it or below it$"):
        TASK.data(config(tmp_path))
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(DataError, match="is a file, expected a folder of pictures"):
        TASK.data(config(tmp_path / "file.txt"))


def test_sample_photos_need_no_folder():
    data = TASK.data(config("sample:photos"))
    assert data.facts == RandomInterpolationFacts(num_train_pictures=12, num_val_pictures=2, num_test_pictures=1)
