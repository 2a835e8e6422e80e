"""Redrawing a picture block by block: against cutting and laying out by hand, for any size, within range."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from hoir_ray.tasks.neighborhood import TASK
from hoir_ray.tasks.neighborhood.config import NeighborhoodConfig, NeighborhoodData, RenderOptions
from hoir_ray.tasks.neighborhood.render import evolve, mirror, redraw


def redraw_by_unfolding(network: nn.Module, frame: torch.Tensor, data: NeighborhoodData) -> torch.Tensor:
    """The same by padding, unfolding into patches and folding the blocks back, all by torch's own functions."""
    span, pad = data.span, data.span
    image = nn.functional.pad(frame.permute(2, 0, 1).unsqueeze(0), (pad,) * 4, mode="reflect")
    patches = nn.functional.unfold(image, span, stride=data.width)
    mask = torch.ones(span, span, dtype=torch.bool)
    mask[data.outside : -data.outside, data.outside : -data.outside] = False
    rings = patches[0].view(3, span * span, -1)[:, mask.flatten()].permute(2, 1, 0).flatten(1)
    blocks = network(rings).view(len(rings), data.width**2, 3).permute(2, 1, 0).reshape(1, -1, len(rings))
    tiles = [(side + 2 * pad - span) // data.width + 1 for side in frame.shape[:2]]
    drawn = nn.functional.fold(blocks, [n * data.width for n in tiles], data.width, stride=data.width)
    first = data.width + data.outside
    return drawn[0, :, first : first + frame.shape[0], first : first + frame.shape[1]].permute(1, 2, 0)


def small(width: int, outside: int) -> tuple[NeighborhoodConfig, nn.Module]:
    torch.manual_seed(0)
    network = {"hidden": {"width": 4}}
    config = NeighborhoodConfig.model_validate({"network": network, "data": {"width": width, "outside": outside}})
    return config, TASK.network(config)


@pytest.mark.parametrize("height", [21, 32])
@pytest.mark.parametrize("columns", [22, 31])
@pytest.mark.parametrize(("width", "outside"), [(1, 1), (3, 3), (3, 1), (3, 5), (5, 3), (2, 3)])
@torch.no_grad()
def test_redraw_is_unfold_and_fold(height, columns, width, outside):
    config, network = small(width, outside)
    frame = torch.rand(height, columns, 3) * 2 - 1
    expected = redraw_by_unfolding(network, frame, config.data)
    torch.testing.assert_close(redraw(network, frame, config=config.data), expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (5, 3), (4, 100), (400, 130)])
def test_any_size(size):
    config, network = small(3, 3)
    frames = evolve(network, torch.zeros(*size, 3), config=config.data, num_frames=2)
    assert frames.shape == (2, *size, 3)
    assert bool(frames.isfinite().all())


def test_values_stay_in_range():
    class Loud(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(50.0))

        def forward(self, ring: torch.Tensor) -> torch.Tensor:
            return ring[:, :27] * self.gain

    frames = evolve(Loud(), torch.rand(20, 20, 3) * 2 - 1, config=NeighborhoodData(), num_frames=6)
    assert frames.min() >= 0
    assert frames.max() <= 1


def test_alpha_blends():
    config, network = small(3, 3)
    start = torch.rand(18, 18, 3) * 2 - 1
    kept = evolve(network, start, config=config.data, num_frames=3, alpha=1.0)
    torch.testing.assert_close(kept, ((start + 1) / 2).expand(3, -1, -1, -1))
    replaced = evolve(network, start, config=config.data, num_frames=2, alpha=0.0)[1]
    torch.testing.assert_close(replaced, (redraw(network, start, config=config.data).clamp(-1, 1) + 1) / 2)


def test_a_part_of_the_pixels_is_changed():
    config, network = small(3, 3)
    start = torch.rand(60, 60, 3) * 2 - 1

    def once(updated: float, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        frames = evolve(network, start, config=config.data, num_frames=2, updated=updated, generator=generator)
        return frames[1]

    whole, half = once(1.0), once(0.5)
    changed = (half != (start + 1) / 2).any(dim=2)
    assert 0.4 < float(changed.float().mean()) < 0.6
    torch.testing.assert_close(half[changed], whole[changed])
    assert torch.equal(half, once(0.5))
    assert not torch.equal(half, once(0.5, seed=1))


def test_steps_per_frame_skips_frames():
    config, network = small(3, 3)
    start = torch.rand(15, 15, 3)
    every = evolve(network, start, config=config.data, num_frames=7)
    third = evolve(network, start, config=config.data, num_frames=3, steps_per_frame=3)
    torch.testing.assert_close(third, every[::3])


def test_render_noise_and_picture():
    config, network = small(3, 3)
    noise = TASK.render(network, config, {}, RenderOptions(size="20x20", num_frames=3))
    assert noise.shape == (3, 20, 20, 3)
    assert torch.equal(noise, TASK.render(network, config, {}, RenderOptions(size="20x20", num_frames=3)))
    assert not torch.equal(noise, TASK.render(network, config, {}, RenderOptions(size="20x20", num_frames=3, seed=1)))
    picture = TASK.render(network, config, {}, RenderOptions(input="sample:coffee", max_side=30, num_frames=2))
    assert picture.shape == (2, 20, 30, 3)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_outside_zero_to_one_is_refused(alpha):
    with pytest.raises(ValidationError, match="alpha"):
        RenderOptions(alpha=alpha)


def test_mirror_folds_from_however_far():
    assert mirror(torch.arange(-9, 10), length=4).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert mirror(torch.arange(-2, 3), length=1).tolist() == [0] * 5


def test_pictures_to_watch_training_by():
    config, network = small(3, 3)
    data = TASK.data(config.model_copy(update={"data": NeighborhoodData(max_side=40)}))
    shown = TASK.pictures(network, data)
    assert shown["preview"].shape == (40, 3 * 40 + 4, 3)
    assert all(picture.min() >= 0 and picture.max() <= 1 for picture in shown.values())
