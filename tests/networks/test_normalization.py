"""Normalizations against upstream's, ties of the largest magnitude included."""

from typing import Any, get_args

import pytest
import torch
from high_order_layers_torch.layers import normalization_layers

from hoir_ray.networks.config import Normalization
from hoir_ray.networks.normalization import build_normalization
from tests.networks.references import assert_close


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [name for name in get_args(Normalization) if name != "none"])
def test_same_numbers_as_upstream(name: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours = build_normalization(name, width=6)
    assert ours is not None
    ours = ours.to(dtype)
    x = torch.randint(-3, 4, (200, 6)).to(dtype)  # few values, so that ties and zeros abound
    x[100:] = torch.randn(100, 6)
    grad = torch.randn(200, 6, dtype=dtype)
    results = []
    for normalization in (ours, normalization_layers[name]().to(dtype)):
        leaf = x.clone().requires_grad_()
        torch.set_default_dtype(dtype)  # upstream makes layer_norm's weights in it
        try:
            output = normalization(leaf)
        finally:
            torch.set_default_dtype(torch.float32)
        output.backward(grad)
        assert leaf.grad is not None
        results.append((output.detach(), leaf.grad))
    for mine, upstreams in zip(*results, strict=True):
        if name == "l2" or dtype == torch.float64:
            rows = x.any(dim=1)  # a row of zeros has a gradient of 1 / 1e-6, which would hide the others
            assert_close(mine[rows], upstreams[rows])
        assert_close(mine, upstreams)


def test_none_is_none() -> None:
    assert build_normalization("none", width=3) is None
