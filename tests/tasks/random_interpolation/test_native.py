"""The compiled sampling gives the same numbers as the one in torch, bit by bit."""

from __future__ import annotations

import pytest
import torch

from hoir_ray.tasks.random_interpolation import native
from hoir_ray.tasks.random_interpolation.config import RandomInterpolationData
from hoir_ray.tasks.random_interpolation.data import RandomPixels


@pytest.mark.skipif(native.library() is None, reason="needs a C compiler")
@pytest.mark.parametrize("sampler", ["radial", "uniform"])
@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize(("size", "num", "per_picture"), [(4, 1, 16), (9, 7, 50), (16, 32, 256), (33, 300, 1000)])
def test_same_as_in_torch(sampler, flips, size, num, per_picture):
    config = RandomInterpolationData(sampler=sampler, size=size, num_feature_pixels=num)
    table = torch.randint(256, (5, 3 * size * size), dtype=torch.uint8)
    samples = RandomPixels(table, config=config, per_picture=per_picture, seed=3, random_flips=flips)
    for epoch in range(3):
        samples.start_epoch(epoch)
        index = torch.randint(samples.num_samples, (200,))
        (features,), target = samples._draw(index)
        again, target_again = samples._draw_natively(index)
        assert torch.equal(features, again)
        assert torch.equal(target, target_again)
