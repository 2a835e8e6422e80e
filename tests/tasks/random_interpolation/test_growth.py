"""Drawing coarse to fine: features at every scale, stages that keep known pixels, drawings of the folder's colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hoir_ray.tasks.random_interpolation import TASK
from hoir_ray.tasks.random_interpolation.config import RandomInterpolationConfig, RandomInterpolationData, RenderOptions
from hoir_ray.tasks.random_interpolation.growth import first_pixels, grow, layout_of
from hoir_ray.tasks.random_interpolation.hashing import mix
from hoir_ray.tasks.random_interpolation.nearest import NearestSampler

SIDE = 16
DATA = RandomInterpolationData(sampler="nearest", size=SIDE, num_feature_pixels=4, num_rotations=1)


class CopyNearest(nn.Module):
    """Answers with the nearest pixel's colour and a spread of `spread` around it."""

    def __init__(self, spread: float = 0.0) -> None:
        super().__init__()
        self.weight, self.spread = nn.Parameter(torch.zeros(1)), spread

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        mean = features[:, :3]
        return torch.cat([mean, mean.square() + self.spread**2], dim=1)


def sampled(times: int = 4000) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    at = torch.full((times,), SIDE // 2, dtype=torch.int32)
    return NearestSampler(DATA, side=SIDE)(at, at, mix(torch.arange(times, dtype=torch.int32)))


def test_pixels_come_nearest_first_inside_the_picture_and_never_the_target():
    rows, columns, _ = sampled()
    distance = (rows - SIDE // 2) ** 2 + (columns - SIDE // 2) ** 2
    assert bool((distance[:, 1:] >= distance[:, :-1]).all())
    assert distance.min() >= 1
    assert min(rows.min(), columns.min()) >= 0
    assert max(rows.max(), columns.max()) < SIDE


def test_every_scale_is_seen():
    _, _, relative = sampled()
    reach = torch.exp((relative[:, -1] + 1) / 2 * np.log(SIDE))
    assert (reach < 2.5).float().mean() > 0.1
    assert (reach > SIDE / 3).float().mean() > 0.1
    assert relative[:, :-1].abs().max() <= 1 + 1e-6


def test_a_target_brings_its_colour_and_the_squares_of_it():
    config = RandomInterpolationConfig(data=DATA)
    (features,), target = TASK.data(config).train(torch.arange(50))
    assert features.shape == (50, config.data.num_features)
    torch.testing.assert_close(target[:, 3:], target[:, :3].square())
    assert TASK.network(config)(features).shape == target.shape


def run(network: nn.Module, known: torch.Tensor, colours: torch.Tensor, *, temperature: float = 0.0, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    stages = grow(network, known, colours, config=DATA, side=SIDE, temperature=temperature, generator=generator)
    return torch.stack(list(stages))


def test_known_pixels_stay_and_others_take_the_nearest_colour():
    # No pixel is as far from the one as from the other: the difference of the squared distances is odd.
    known, colours = torch.tensor([0, SIDE * SIDE - 2]), torch.tensor([[-1.0, -1, -1], [1, 1, 1]])
    stages = run(CopyNearest(), known, colours)
    assert torch.equal(stages[0], stages[-1])
    assert torch.equal(stages[-1].view(-1, 3)[known], colours)
    assert (stages[-1][0, 0] < 0).all()
    assert (stages[-1][-1, -1] > 0).all()


def test_temperature_draws_the_spread():
    known, colours = torch.arange(0, 256, 9), torch.zeros(29, 3)
    assert run(CopyNearest(0.2), known, colours)[-1].abs().max() == 0
    warm = run(CopyNearest(0.2), known, colours, temperature=1.0)
    assert len(warm) > 3
    assert 0.1 < float(warm[-1].std()) < 1
    assert torch.equal(warm, run(CopyNearest(0.2), known, colours, temperature=1.0))
    assert not torch.equal(warm, run(CopyNearest(0.2), known, colours, temperature=1.0, seed=1))


def test_drawings_begin_with_colours_of_the_folder():
    pictures = torch.stack([torch.full((8, 8, 3), value, dtype=torch.uint8) for value in (100, 140, 120)])
    draws = [
        first_pixels(layout_of(pictures), side=8, num=5, generator=torch.Generator().manual_seed(seed))[1]
        for seed in range(40)
    ]
    means = torch.stack([d.mean() for d in draws]) * 127.5 + 127.5
    assert abs(float(means.mean()) - 120) < 15
    assert 5 < float(means.std()) < 60
    one = first_pixels(layout_of(pictures[:1]), side=8, num=5, generator=torch.Generator())[1]
    torch.testing.assert_close(one, torch.full((5, 3), 100 / 127.5 - 1))


@pytest.fixture
def rendered(tmp_path):
    for number in range(4):
        Image.fromarray(np.full((20, 20, 3), 60 * number, np.uint8)).save(tmp_path / f"{number}.png")
    config = RandomInterpolationConfig(data=DATA.model_copy(update={"folder": str(tmp_path)}))
    facts = TASK.data(config).facts
    return lambda **options: TASK.render(CopyNearest(0.1), config, facts, RenderOptions.model_validate(options))


@pytest.mark.parametrize("options", [{"num_frames": 1}, {"num_frames": 5}, {"num_frames": 3, "all_random": True}])
@pytest.mark.parametrize("source", ["noise", "sample:coffee"])
def test_frames(rendered, options, source):
    frames = rendered(input=source, **options)
    assert frames.shape == (options["num_frames"], SIDE, SIDE, 3)
    assert 0 <= frames.min() <= frames.max() <= 1


def test_other_noise_gives_another_picture(rendered):
    frames = rendered(num_frames=2, all_random=True, size="24x24")
    assert frames.shape == (2, 24, 24, 3)
    assert not torch.equal(frames[0], frames[1])


def test_fewer_pixels_than_features(rendered):
    assert rendered(num_frames=2, size="4x4", input="sample:coffee", known=0.1).shape == (2, 4, 4, 3)


def test_metrics_of_what_is_drawn(tmp_path):
    """Held-out pictures of one colour each: the nearest pixel rebuilds them, and noise is far from their patches."""
    generator = np.random.default_rng(0)
    for number in range(8):
        colour = generator.integers(0, 256, (1, 1, 3), np.uint8)
        Image.fromarray(np.broadcast_to(colour, (SIDE, SIDE, 3)).copy()).save(tmp_path / f"{number}.png")
    data = {"folder": str(tmp_path), "size": SIDE, "num_feature_pixels": 4, "train_fraction": 0.5}
    config = RandomInterpolationConfig.model_validate({"data": data})
    calm, wild = (TASK.measure(CopyNearest(spread), TASK.data(config)) for spread in (0.0, 0.5))
    assert calm["val_reconstruction_psnr_db"] == wild["val_reconstruction_psnr_db"] > 50
    assert calm["val_patch_distance"] < wild["val_patch_distance"]
    assert calm.keys() <= TASK.metrics
    upstreams = config.model_copy(update={"data": config.data.model_copy(update={"sampler": "radial"})})
    assert TASK.measure(CopyNearest(), TASK.data(upstreams)) == {}
