from __future__ import annotations

import pytest
import torch
from high_order_layers_torch.sparse_optimizers import SparseLion as UpstreamSparseLion
from pydantic import TypeAdapter
from torch import Tensor

from hoir_ray.training.config import OptimizerConfig
from hoir_ray.training.optimizers import build_optimizer, needs_second_order, set_learning_rate, settle
from hoir_ray.training.optimizers.sparse_lion import SparseLion


def sparse_gradient(like: Tensor, *, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    gradient = torch.randn(like.shape, generator=generator)
    return gradient * (torch.rand(like.shape, generator=generator) < 0.3)


def test_sparse_lion_gives_upstreams_numbers() -> None:
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 60).view(3, 20)) for _ in range(2))
    options = {"lr": 1e-2, "betas": (0.9, 0.99)}
    a, b = SparseLion([ours], **options), UpstreamSparseLion([theirs], **options)  # type: ignore[arg-type]
    for step in range(50):
        ours.grad = theirs.grad = sparse_gradient(ours, seed=step)
        a.step()
        b.step()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-7)
        torch.testing.assert_close(a.state[ours]["exp_avg"], b.state[theirs]["exp_avg"], rtol=0, atol=1e-7)


def test_weight_decay_shrinks_active_weights_where_upstreams_does_nothing() -> None:
    """Upstream shrinks a copy of the weights that indexing makes; ours decays them as Lion does."""
    ours, theirs = (torch.nn.Parameter(torch.full((4,), 2.0)) for _ in range(2))
    ours.grad = theirs.grad = torch.tensor([0.0, 0.0, 1.0, 1.0])
    SparseLion([ours], lr=0.1, weight_decay=0.5).step()
    UpstreamSparseLion([theirs], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(theirs.detach(), torch.tensor([2.0, 2.0, 1.9, 1.9]))
    torch.testing.assert_close(ours.detach(), torch.tensor([2.0, 2.0, 1.8, 1.8]))


def test_sparse_lion_leaves_weights_without_gradient_alone() -> None:
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = SparseLion([weight], lr=0.1, weight_decay=0.5)
    weight.grad = torch.ones(4)
    optimizer.step()
    before, momentum = weight.detach().clone(), optimizer.state[weight]["exp_avg"].clone()
    weight.grad = torch.tensor([0.0, 0.0, 1.0, -1.0])
    optimizer.step()
    assert torch.equal(weight[:2], before[:2])
    assert torch.equal(optimizer.state[weight]["exp_avg"][:2], momentum[:2])
    assert not torch.equal(weight[2:], before[2:])


@pytest.mark.filterwarnings("ignore:.*create_graph=True will create a reference cycle")  # broken by zero_grad
@pytest.mark.parametrize("name", ["adam", "adamw", "lion", "sparse_lion", "adahessian"])
def test_every_optimizer_lowers_a_loss(name: str) -> None:
    config = TypeAdapter[OptimizerConfig](OptimizerConfig).validate_python({"name": name, "lr": 0.05})
    weight = torch.nn.Parameter(torch.ones(8))
    optimizer = build_optimizer([weight], config=config, device=torch.device("cpu"))
    for _ in range(10):
        loss = (weight**4).sum()
        torch.autograd.backward([loss], inputs=[weight], create_graph=needs_second_order(config))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    assert (weight**4).sum() < 8


def test_a_checkpoint_from_another_device_leaves_no_rate_behind() -> None:
    weight = torch.nn.Parameter(torch.ones(8))
    optimizer = torch.optim.Adam([weight], lr=0.5)
    settle(optimizer, device=torch.device("cpu"), capturable=True)
    (group,) = optimizer.param_groups
    assert isinstance(group["lr"], Tensor)
    assert group["capturable"]
    settle(optimizer, device=torch.device("cpu"), capturable=False)
    assert group["lr"] == 0.5
    assert not isinstance(group["lr"], Tensor)
    assert not group["capturable"]


def test_a_rate_in_a_tensor_is_set_in_place() -> None:
    weight = torch.nn.Parameter(torch.ones(8))
    rate = torch.tensor(0.1)
    optimizer = SparseLion([weight], lr=rate)
    set_learning_rate(optimizer, 0.5)
    assert rate == 0.5
    assert optimizer.param_groups[0]["lr"] is rate
