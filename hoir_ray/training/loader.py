"""Epochs as permutations on the device: what is loaded is not samples but the numbers of the samples of many steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor


def epoch_seed(seed: int, epoch: int) -> int:
    """A 32-bit seed that differs for every pair; sums of the two would repeat one trial's shuffles in another."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])


class IndexLoader:
    """Shuffled sample numbers in blocks of up to `max_steps` optimizer steps; an epoch sees every sample once.

    Every worker draws the same permutation and takes its share of each global batch, so that the batches are the same
    however many workers there are. A last batch with fewer samples than workers is left out.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
        max_steps: int = 64,
    ) -> None:
        self.num_samples, self.batch_size, self.seed, self.device = num_samples, batch_size, seed, device
        self.rank, self.world_size, self.max_steps = rank, world_size, max_steps
        self.num_full, rest = divmod(num_samples, batch_size)
        self.rest = rest if rest >= world_size else 0
        self.epoch = 0

    @property
    def num_steps(self) -> int:
        """Optimizer steps in an epoch."""
        return self.num_full + (self.rest > 0)

    def __len__(self) -> int:
        return -(-self.num_full // self.max_steps) + (self.rest > 0)

    def __iter__(self) -> Iterator[tuple[Int64[Tensor, "steps batch"], float]]:
        """Blocks of sample numbers, with this worker's share of each batch relative to an equal one."""
        generator = torch.Generator(self.device).manual_seed(epoch_seed(self.seed, self.epoch))
        order = torch.randperm(self.num_samples, generator=generator, device=self.device)
        full = order[: self.num_full * self.batch_size].view(-1, self.batch_size)
        if self.num_full:
            for block in torch.split(full, self.max_steps):
                yield self._shard(block)
        if self.rest:
            yield self._shard(order[None, -self.rest :])

    def _shard(self, block: Tensor) -> tuple[Tensor, float]:
        own = block[:, self.rank :: self.world_size]
        return own, own.shape[1] * self.world_size / block.shape[1]
