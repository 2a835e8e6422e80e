"""Distortion of a network on its data, measured often: on a fixed part of the samples, looked up once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hoir_ray.training.data import Batch, Samples
from hoir_ray.training.predict import cast

MAX_SAMPLES, MIN_SAMPLES = 16_384, 4096
_ROWS = 8192
_WORK = 2**31  # samples times weights of one measurement, which takes tens of milliseconds
# Of colours in [-1, 1] rounded to 8 bits: what is nearer than that is shown as the same picture.
LOWEST_MSE = (2 / 255) ** 2 / 12


class Distortion:
    """Mean squared error of a network as it is when called.

    Attributes:
        batches: The samples, a random part of all where those are many, or the network is large.
    """

    def __init__(self, network: nn.Module, samples: Samples) -> None:
        self.network = network
        num_weights = sum(p.numel() for p in network.parameters())
        limit = min(MAX_SAMPLES, max(MIN_SAMPLES, _WORK // max(1, num_weights)))
        generator = torch.Generator().manual_seed(0)
        index = torch.randperm(samples.num_samples, generator=generator)[:limit].sort().values
        samples.cpu()
        self.batches: list[Batch] = [cast(samples(rows), torch.float32) for rows in torch.split(index, _ROWS)]

    @torch.no_grad()
    def __call__(self) -> float:
        total = torch.zeros((), dtype=torch.float64)
        for inputs, target in self.batches:
            error: Tensor = self.network(*inputs) - target
            total += error.square().sum(dtype=torch.float64)
        return float(total) / sum(target.numel() for _, target in self.batches)
