"""Normalizations against upstream's, ties of the largest magnitude included."""

from typing import Any, get_args

import pytest
import torch
from high_order_layers_torch.layers import normalization_layers

from hoir_ray.networks.config import Normalization
from hoir_ray.networks.native.max_abs import max_abs
from hoir_ray.networks.normalization import build_normalization
from tests.networks.references import assert_close, only


@pytest.mark.parametrize("path", ["native", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [name for name in get_args(Normalization) if name != "none"])
def test_same_numbers_as_upstream(path: str, name: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours = build_normalization(name, width=6)
    assert ours is not None
    ours = ours.to(dtype)
    x = torch.randint(-3, 4, (200, 6)).to(dtype)  # few values, so that ties and zeros abound
    x[100:] = torch.randn(100, 6)
    grad = torch.randn(200, 6, dtype=dtype)
    results: list[tuple[torch.Tensor, torch.Tensor]] = []
    for normalization in (ours, normalization_layers[name]().to(dtype)):
        leaf = x.clone().requires_grad_()
        torch.set_default_dtype(dtype)  # upstream makes layer_norm's weights in it
        try:
            with only(path):
                output = normalization(leaf)
        finally:
            torch.set_default_dtype(torch.float32)
        results.append((output.detach(), torch.autograd.grad(output, leaf, grad)[0]))
    for mine, upstreams in zip(*results, strict=True):
        if name == "l2" or dtype == torch.float64:
            rows = x.any(dim=1)  # a row of zeros has a gradient of 1 / 1e-6, which would hide the others
            assert_close(mine[rows], upstreams[rows])
        assert_close(mine, upstreams)


def test_none_is_none() -> None:
    assert build_normalization("none", width=3) is None


@pytest.mark.parametrize("path", ["native", "torch"])
def test_max_abs_of_odd_numbers(path: str) -> None:
    x = torch.tensor([[1.0, torch.nan, -2.0], [torch.inf, 1.0, 0.0], [0.0, -0.0, 0.0], [-4.0, 2.0, 4.0]])
    with only(path):
        output = max_abs(x)
    assert output[0].isnan().all()
    assert output[1, 0].isnan()
    assert torch.equal(output[1:3, 1:], torch.zeros(2, 2))
    assert_close(output[3], torch.tensor([-1.0, 0.5, 1.0]))


@pytest.mark.parametrize("width", [1, 5, 40])
def test_max_abs_gradients_and_their_gradients(width: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, width, dtype=torch.float64, requires_grad=True)
    with only("native"):
        assert torch.autograd.gradcheck(max_abs, x, atol=1e-4)
        assert torch.autograd.gradgradcheck(max_abs, x, atol=1e-4)
