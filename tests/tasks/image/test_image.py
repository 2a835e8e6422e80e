from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from hoir_ray.errors import DataError, RequestError
from hoir_ray.tasks.image import TASK
from hoir_ray.tasks.image.config import ImageConfig, ImageFacts, RenderOptions
from hoir_ray.tasks.image.data import load, score
from hoir_ray.tasks.image.render import ERROR_GAIN, pictures, render


class Plane(nn.Module):
    """Colours that are the position itself: red is x, green is y, blue is grey."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, positions: Tensor) -> Tensor:
        return torch.cat([positions[:, :2] * self.scale, positions[:, :1] * 0], dim=1)


def config(image: object = "sample:astronaut", **data: object) -> ImageConfig:
    return ImageConfig.model_validate({"data": {"image": str(image), **data}})


def write_picture(path: Path, pixels: np.ndarray[Any, Any]) -> Path:
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def test_samples_are_the_pixels_in_order(tmp_path: Path) -> None:
    pixels = np.arange(2 * 3 * 3).reshape(2, 3, 3) * 10
    data = load(config(write_picture(tmp_path / "a.png", pixels)))
    (positions,), colours = data.val(torch.arange(6))
    torch.testing.assert_close(((colours + 1) * 127.5).view(2, 3, 3), torch.tensor(pixels).float())
    assert positions.shape == (6, 4)
    torch.testing.assert_close(positions[:, 0], torch.tensor([-1.0, 0, 1] * 2))
    torch.testing.assert_close(positions[:, 1], torch.tensor([-1.0] * 3 + [1.0] * 3))
    assert data.facts == ImageFacts(height=2, width=3, num_pixels=6)


def test_max_side_shrinks() -> None:
    data = load(config("sample:coffee", max_side=30))
    assert data.facts.width == 30
    assert data.facts.height == 20


def test_a_picture_is_loaded_once_and_again_when_its_file_changes(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", np.zeros((4, 4, 3)))
    first = load(config(path))
    assert load(config(path)) is first
    write_picture(path, np.full((4, 4, 3), 255))
    os.utime(path, ns=(1, 1))
    assert load(config(path)).train(torch.tensor([0]))[1].min() == 1


def test_two_pictures_of_one_relative_name_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colours = []
    for shade in (0, 255):
        folder = tmp_path / str(shade)
        folder.mkdir()
        os.utime(write_picture(folder / "a.png", np.full((4, 4, 3), shade)), ns=(1, 1))
        monkeypatch.chdir(folder)
        colours.append(float(load(config("a.png")).train(torch.tensor([0]))[1].mean()))
    assert colours == [-1, 1]


@pytest.mark.parametrize("content", [None, b"", b"a text", "1x1", "1x5"])
def test_what_is_no_picture_is_named(content: bytes | str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        width, height = map(int, content.split("x"))
        write_picture(path, np.zeros((height, width, 3)))
    with pytest.raises(DataError, match=r"a\.png: "):
        load(config(path))


def test_an_unknown_sample_is_named_with_the_nearest() -> None:
    with pytest.raises(DataError, match="astronaut"):
        load(config("sample:astronuat"))


def test_a_perfect_prediction_scores_as_one() -> None:
    data = load(config(max_side=16))
    target = data.val(torch.arange(256))[1]
    metrics = score(target.clone(), target, data)
    assert metrics["val_loss"] == 0
    assert metrics["val_psnr_db"] == pytest.approx(120)
    assert metrics["val_ssim"] == pytest.approx(1)


def test_what_lies_beyond_black_and_white_costs_loss_and_no_psnr() -> None:
    data = load(config(max_side=16))
    target = data.val(torch.arange(256))[1].sign()
    metrics = score(target * 1.5, target, data)
    assert metrics["val_loss"] == pytest.approx(0.25)
    assert metrics["val_psnr_db"] == pytest.approx(120)


def test_a_frame_has_the_size_asked_for_and_the_pictures_own_without() -> None:
    facts = ImageFacts(height=3, width=5, num_pixels=15)
    own = render(Plane(), config(), facts, RenderOptions())
    assert own.shape == (1, 3, 5, 3)
    torch.testing.assert_close(own[0, 0, :, 0], torch.linspace(0, 1, 5))
    torch.testing.assert_close(own[0, :, 0, 1], torch.linspace(0, 1, 3))
    large = render(Plane(), config(), facts, RenderOptions(size="700x200"))
    assert large.shape == (1, 200, 700, 3)


@pytest.mark.parametrize("size", ["1x5", "5x1", "99999x99999"])
def test_an_impossible_size_is_named(size: str) -> None:
    with pytest.raises(RequestError, match=size):
        render(Plane(), config(), {"height": 3, "width": 5}, RenderOptions(size=size))


def test_the_comparison_shows_original_fit_and_amplified_error() -> None:
    data = load(config(max_side=16))
    shown = pictures(Plane(), data)
    original, fit, error = (shown["comparison"][:, i * 20 : i * 20 + 16] for i in range(3))
    assert torch.equal(fit, shown["preview"])
    target = (data.val(torch.arange(256))[1].view(16, 16, 3) + 1) / 2
    torch.testing.assert_close(original, target)
    torch.testing.assert_close(error, ((fit - original).abs() * ERROR_GAIN).clamp(0, 1))


def test_a_picture_drawn_in_another_shape_is_the_same_picture_squeezed() -> None:
    """The corners, which all shapes have, keep their colours, on rotated axes too."""
    settings = config("sample:coffee", max_side=30, num_rotations=3)
    torch.manual_seed(0)
    network, facts = TASK.network(settings), TASK.data(settings).facts
    own, other = (render(network, settings, facts, RenderOptions(size=size))[0] for size in (None, "17x41"))
    for row in (0, -1):
        for column in (0, -1):
            torch.testing.assert_close(other[row, column], own[row, column], atol=1e-4, rtol=0)
