"""Pictures drawn from random pixels of others: from noise and from files, iterated or not, at any square size."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from hoir_ray.pictures.load import load_square
from hoir_ray.tasks.random_interpolation import TASK
from hoir_ray.tasks.random_interpolation.config import RandomInterpolationConfig, RenderOptions
from hoir_ray.tasks.random_interpolation.render import redraw


class NearestPixel(nn.Module):
    """Answers with the first feature pixel's colour, which the radial sampler draws right beside the target."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, :3]


CONFIG = RandomInterpolationConfig.model_validate(
    {"data": {"size": 16, "num_feature_pixels": 16, "sampler": "radial"}, "network": {"hidden": {"width": 4}}}
)


def render(network: nn.Module, **options) -> torch.Tensor:
    return TASK.render(network, CONFIG, {}, RenderOptions.model_validate(options))


def test_redrawing_puts_pixels_where_they_belong():
    frame = load_square("sample:camera", side=32).float() * (2 / 255) - 1
    data = CONFIG.data.model_copy(update={"num_feature_pixels": 32})
    drawn = redraw(NearestPixel(), frame, config=data, salt=7)
    assert (drawn - frame).abs().mean() < (frame.roll(6, 0) - frame).abs().mean() / 2


def test_network_fits_the_data():
    network = TASK.network(CONFIG)
    inputs, target = TASK.data(CONFIG).train(torch.arange(9))
    assert network(*inputs).shape == target.shape
    assert sum(p.numel() for p in network.parameters()) == TASK.num_parameters(CONFIG)


def test_frames_begin_with_the_start():
    network = TASK.network(CONFIG)
    frames = render(network, input="sample:coffee", num_frames=3)
    assert frames.shape == (3, 16, 16, 3)
    torch.testing.assert_close(frames[0], load_square("sample:coffee", side=16).float() / 255)
    assert 0 <= frames.min() <= frames.max() <= 1


def test_iterated_frames_follow_from_the_frame_before():
    frames = render(NearestPixel(), num_frames=30)
    assert len(frames[-1].flatten(0, 1).unique(dim=0)) < 0.5 * len(frames[1].flatten(0, 1).unique(dim=0))


def test_all_random_frames_follow_from_the_start():
    picture = render(NearestPixel(), input="sample:coffee", num_frames=30, all_random=True)
    palette = {tuple(colour) for colour in picture[0].flatten(0, 1).tolist()}
    assert {tuple(colour) for colour in picture[-1].flatten(0, 1).tolist()} <= palette
    assert not torch.equal(picture[1], picture[2])
    noise = render(NearestPixel(), num_frames=4, all_random=True)
    assert not {tuple(c) for c in noise[1].flatten(0, 1).tolist()} & {tuple(c) for c in noise[3].flatten(0, 1).tolist()}


def test_seed_and_size():
    network = TASK.network(CONFIG)
    first, again, other = (render(network, num_frames=2, seed=s, size="20x20") for s in (0, 0, 1))
    assert first.shape == (2, 20, 20, 3)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("size", ["20x30", "2x2", "20", "x"])
def test_size_must_be_a_square(size):
    with pytest.raises(ValidationError, match="size"):
        RenderOptions(size=size)


def test_pictures_to_watch_training_by():
    shown = TASK.pictures(TASK.network(CONFIG), TASK.data(CONFIG))
    assert set(shown) == {"preview", "noise"}
    assert all(picture.ndim == 3 and 0 <= picture.min() <= picture.max() <= 1 for picture in shown.values())
