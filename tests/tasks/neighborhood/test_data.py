"""The patches are those that cutting every one of them out by hand gives, and broken input is one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from hoir_ray.errors import DataError
from hoir_ray.tasks.neighborhood import TASK
from hoir_ray.tasks.neighborhood.config import NeighborhoodConfig


@pytest.fixture
def picture_file(tmp_path):
    def save(name: str, height: int, width: int) -> str:
        pixels = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
        return str(tmp_path / name)

    return save


def config(**data) -> NeighborhoodConfig:
    return NeighborhoodConfig.model_validate({"data": data})


def patches_by_hand(path: str, *, width: int, outside: int, stride: int) -> dict[bytes, torch.Tensor]:
    """Block values keyed by ring values, from slices of the picture and a mask."""
    pixels = torch.from_numpy(np.array(Image.open(path))).float() * (2 / 255) - 1
    span = width + 2 * outside
    mask = torch.ones(span, span, dtype=torch.bool)
    mask[outside : outside + width, outside : outside + width] = False
    found = {}
    for row in range(0, pixels.shape[0] - span + 1, stride):
        for column in range(0, pixels.shape[1] - span + 1, stride):
            patch = pixels[row : row + span, column : column + span]
            found[patch[mask].numpy().tobytes()] = patch[~mask].flatten()
    return found


@pytest.mark.parametrize(("width", "outside"), [(1, 1), (1, 3), (3, 1), (3, 3), (4, 6), (5, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_every_patch_is_there_once(picture_file, width, outside, stride):
    path = picture_file("a.png", 23, 19)
    data = TASK.data(config(images=[path], width=width, outside=outside, stride=stride, val_fraction=0.25))
    expected = patches_by_hand(path, width=width, outside=outside, stride=stride)
    assert data.train.num_samples + data.val.num_samples == len(expected)
    for samples in (data.train, data.val):
        (rings,), blocks = samples(torch.arange(samples.num_samples))
        for ring, block in zip(rings, blocks, strict=True):
            assert torch.equal(block, expected.pop(ring.numpy().tobytes()))
    assert not expected


def test_several_pictures_of_different_sizes(picture_file):
    paths = [picture_file("a.png", 12, 30), picture_file("b.png", 20, 9)]
    data = TASK.data(config(images=paths, val_fraction=0))
    expected = {k: v for path in paths for k, v in patches_by_hand(path, width=3, outside=3, stride=1).items()}
    (rings,), blocks = data.train(torch.arange(data.train.num_samples))
    assert {ring.numpy().tobytes() for ring in rings} == set(expected)
    assert all(torch.equal(block, expected[ring.numpy().tobytes()]) for ring, block in zip(rings, blocks, strict=True))


def test_held_out_positions_follow_the_seed(picture_file):
    path = picture_file("a.png", 20, 20)
    base = config(images=[path], val_fraction=0.5)
    other_seed = base.model_copy(update={"training": base.training.model_copy(update={"seed": 7})})
    first, again, other = (TASK.data(c).val for c in (base, base, other_seed))
    everything = torch.arange(first.num_samples)
    assert torch.equal(first(everything)[1], again(everything)[1])
    assert not torch.equal(first(everything)[1], other(everything)[1])


def test_other_pictures_are_scored_by_themselves(picture_file):
    paths = picture_file("a.png", 20, 20), picture_file("b.png", 15, 31)
    data = TASK.data(config(images=[paths[0]], val_images=[paths[1]], max_val_positions=10))
    assert data.val.num_samples == 20
    expected = patches_by_hand(paths[1], width=3, outside=3, stride=1)
    (rings,), target = data.val(torch.arange(20))
    assert all(ring.numpy().tobytes() in expected for ring in rings[10:])
    prediction = target.clone()
    prediction[:10] -= 0.2 * target[:10].sign()
    prediction[10:] -= 0.02 * target[10:].sign()
    metrics = TASK.score(prediction, target, data)
    assert metrics["val_loss"] == pytest.approx(0.04, rel=1e-4)
    assert metrics["val_other_psnr_db"] == pytest.approx(40, abs=0.01)


def test_nothing_held_out_validates_on_training_positions(picture_file):
    data = TASK.data(config(images=[picture_file("a.png", 12, 12)], val_fraction=0))
    assert data.train.num_samples == data.val.num_samples == 16


def test_network_and_count_fit_the_data(picture_file):
    settings = config(images=[picture_file("a.png", 20, 20)], width=2, outside=3)
    network = TASK.network(settings)
    inputs, target = TASK.data(settings).train(torch.arange(5))
    assert network(*inputs).shape == target.shape
    assert sum(p.numel() for p in network.parameters()) == TASK.num_parameters(settings)


def test_picture_smaller_than_block_and_ring(picture_file):
    with pytest.raises(DataError, match=r"small.png: must be at least 9 x 9 pixels for data.width 3 .*, got 30 x 8"):
        TASK.data(config(images=[picture_file("small.png", 8, 30)]))


def test_missing_picture():
    with pytest.raises(DataError, match=r"nowhere.png: no such file"):
        TASK.data(config(images=["nowhere.png"]))


@pytest.mark.parametrize(
    "data", [{"images": []}, {"width": 0}, {"outside": 0}, {"stride": 0}, {"val_fraction": 1.0}, {"max_side": 0}]
)
def test_config_refuses(data):
    with pytest.raises(ValidationError):
        config(**data)
