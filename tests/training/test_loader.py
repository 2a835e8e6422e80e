from __future__ import annotations

import pytest
import torch

from hoir_ray.training.loader import IndexLoader

CPU = torch.device("cpu")


def blocks(num_samples: int, *, batch_size: int, epoch: int = 0, **options: int) -> list[torch.Tensor]:
    loader = IndexLoader(num_samples, batch_size=batch_size, seed=options.pop("seed", 0), device=CPU, **options)
    loader.epoch = epoch
    found = [index for index, _ in loader]
    assert len(found) == len(loader)
    assert sum(len(index) for index in found) == loader.num_steps
    return found


@pytest.mark.parametrize(("num_samples", "batch_size"), [(1000, 7), (10, 10), (3, 10), (640, 10), (1, 1)])
def test_an_epoch_sees_every_sample_once(num_samples: int, batch_size: int) -> None:
    seen = torch.cat([b.flatten() for b in blocks(num_samples, batch_size=batch_size, max_steps=16)])
    assert torch.equal(seen.sort().values, torch.arange(num_samples))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def first(**options: int) -> torch.Tensor:
        return blocks(100, batch_size=50, **options)[0]

    assert torch.equal(first(seed=3, epoch=2), first(seed=3, epoch=2))
    assert not torch.equal(first(seed=3, epoch=2), first(seed=3, epoch=3))
    assert not torch.equal(first(seed=3, epoch=2), first(seed=2, epoch=3))


@pytest.mark.parametrize("world_size", [2, 3])
def test_workers_share_the_same_global_batches(world_size: int) -> None:
    alone = blocks(1000, batch_size=64)
    shares = [blocks(1000, batch_size=64, rank=rank, world_size=world_size) for rank in range(world_size)]
    for number, block in enumerate(alone):
        together = torch.cat([share[number] for share in shares], dim=1)
        assert torch.equal(together.sort(dim=1).values, block.sort(dim=1).values)


def test_unequal_shares_weigh_as_many_as_their_rows() -> None:
    loaders = [IndexLoader(10, batch_size=10, seed=0, device=CPU, rank=rank, world_size=3) for rank in range(3)]
    shares = [share for loader in loaders for _, share in loader]
    assert shares == pytest.approx([1.2, 0.9, 0.9])
    assert sum(shares) == pytest.approx(3)


def test_a_last_batch_with_fewer_samples_than_workers_is_left_out() -> None:
    loader = IndexLoader(11, batch_size=10, seed=0, device=CPU, rank=1, world_size=2)
    assert [index.shape for index, _ in loader] == [(1, 5)]
