"""Sampling around a target: where, how densely, never the target itself, the same whatever the batch."""

from __future__ import annotations

import pytest
import torch

from hoir_ray.pictures.coordinates import pixel_positions
from hoir_ray.tasks.random_interpolation.config import RandomInterpolationData
from hoir_ray.tasks.random_interpolation.hashing import mix, salt_for
from hoir_ray.tasks.random_interpolation.sampling import NeighbourSampler, radial_steps


def draw(sampler: str, *, side: int, num: int, row: int, column: int, times: int = 2000, num_rotations: int = 1):
    config = RandomInterpolationData(sampler=sampler, num_feature_pixels=num, num_rotations=num_rotations)
    hashed = mix(torch.arange(times, dtype=torch.int32))
    at = torch.tensor([row], dtype=torch.int32).expand(times), torch.tensor([column], dtype=torch.int32).expand(times)
    return NeighbourSampler(config, side=side)(*at, hashed)


@pytest.mark.parametrize("sampler", ["radial", "uniform"])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (7, 15), (15, 3), (8, 8)])
def test_within_the_picture(sampler, row, column):
    rows, columns, _ = draw(sampler, side=16, num=5, row=row, column=column)
    assert rows.shape == columns.shape == (2000, 5)
    for index in (rows, columns):
        assert 0 <= index.min() <= index.max() <= 15


@pytest.mark.parametrize("num", [1, 5, 32, 700])
@pytest.mark.parametrize("side", [4, 16, 64, 301])
def test_each_pixel_has_its_own_ring(side, num):
    rows, columns = radial_steps(side, num=num)
    distance = torch.hypot(rows.float(), columns.float()).view(num, -1)
    assert distance.min() >= 1
    assert distance.max() <= side / 2 + 0.8
    width = (side / 2 - 1) / num
    for ring, own in enumerate(distance):
        assert own.min() >= 1 + ring * width - 0.8  # steps are whole pixels
        assert own.max() <= 1 + (ring + 1) * width + 0.8


def test_radii_together_are_uniform_and_angles_all_around():
    rows, columns, _ = draw("radial", side=128, num=32, row=64, column=64)
    down, right = rows - 64, columns - 64
    distance = torch.hypot(down.float(), right.float())
    share = torch.histc(distance, bins=8, min=0.5, max=64.5) / distance.numel()
    assert (share - 1 / 8).abs().max() < 0.02
    quadrants = [float(((down > 0) == a).logical_and((right > 0) == b).float().mean()) for a in (0, 1) for b in (0, 1)]
    assert max(quadrants) - min(quadrants) < 0.03


def test_uniform_reaches_every_pixel_but_the_target_alike():
    rows, columns, _ = draw("uniform", side=6, num=40, row=2, column=3)
    counts = torch.bincount((rows * 6 + columns).flatten().long(), minlength=36)
    assert counts[15] == 0
    others = torch.cat([counts[:15], counts[16:]]).float() / counts.sum()
    assert (others - 1 / 35).abs().max() < 0.003


def test_border_is_a_mirror():
    rows, columns, relative = draw("radial", side=32, num=4, row=0, column=31)
    down, right = (relative.view(-1, 4, 2)[..., axis] * 31 / 2 for axis in (1, 0))
    torch.testing.assert_close(rows.float(), down.abs(), atol=1e-4, rtol=0)
    torch.testing.assert_close(columns.float(), 31 - right.abs(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("num_rotations", [1, 2, 3])
def test_relative_positions_are_differences_of_positions(num_rotations):
    rows, columns, relative = draw("uniform", side=9, num=6, row=5, column=2, num_rotations=num_rotations)
    positions = pixel_positions(9, 9, num_rotations=num_rotations)
    expected = positions[(rows * 9 + columns).long()] - positions[5 * 9 + 2]
    torch.testing.assert_close(relative.view(expected.shape), expected, atol=1e-6, rtol=0)


def test_drawn_alike_in_any_batch():
    config = RandomInterpolationData(num_feature_pixels=7)
    sampler = NeighbourSampler(config, side=16)
    row, column, hashed = (torch.randint(16, (50,), dtype=torch.int32) for _ in range(3))
    whole = sampler(row, column, mix(hashed))
    order = torch.randperm(50)
    for drawn, again in zip(whole, sampler(row[order], column[order], mix(hashed[order])), strict=True):
        assert torch.equal(drawn[order], again)


def test_hash_is_a_permutation_that_flips_half_the_bits():
    numbers = torch.arange(-(2**15), 2**15, dtype=torch.int32)
    hashed = mix(numbers)
    assert len(hashed.unique()) == len(numbers)
    changed = hashed ^ mix(numbers ^ 1)
    share = torch.stack([((changed >> bit) & 1).float().mean() for bit in range(32)])
    assert (share - 0.5).abs().max() < 0.02


def test_salts_differ_by_seed_and_epoch():
    salts = {salt_for(seed, epoch=epoch) for seed in range(20) for epoch in range(20)}
    assert len(salts) == 400
    assert all(-(2**31) <= salt < 2**31 for salt in salts)
