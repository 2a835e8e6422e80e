"""Upstream's own layers with our layers' weights, and what the tests mean by equal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch
from high_order_layers_torch.LagrangePolynomial import LagrangePolyFlatProd
from high_order_layers_torch.layers import high_order_fc_layers
from high_order_layers_torch.utils import make_periodic
from torch import Tensor, nn

from hoir_ray.networks.layers import Links, build_layer
from hoir_ray.networks.native import links as native
from hoir_ray.networks.native import max_abs
from hoir_ray.networks.native.library import library
from hoir_ray.networks.resolve import ResolvedLayer

LINK_TYPES = [
    "continuous",
    "continuous_prod",
    "discontinuous",
    "discontinuous_prod",
    "polynomial",
    "polynomial_prod",
    "product",
    "fourier",
]


@contextmanager
def only(path: str) -> Iterator[None]:
    """Layers by the compiled code ("native") or by plain torch ("torch") alone."""
    if path == "torch":
        with patch.object(native, "takes", lambda *_: False), patch.object(max_abs, "library", lambda _: None):
            yield
    else:
        if library(torch.float32) is None:
            pytest.skip("no C compiler on this machine")
        yield


def build_pair(layer: ResolvedLayer, *, in_width: int, out_width: int) -> tuple[Links, Any]:
    """Our layer with normal weights, so that no two are alike, and upstream's with the same."""
    ours = build_layer(layer, in_width=in_width, out_width=out_width)
    assert isinstance(ours, Links)
    theirs: Any = (
        _PolynomialProd(layer, in_width=in_width, out_width=out_width)
        if layer.layer_type == "polynomial_prod"
        else high_order_fc_layers(
            layer_type=layer.layer_type,
            n=layer.num_nodes,
            in_features=in_width,
            out_features=out_width,
            segments=layer.segments,
            periodicity=layer.periodicity,
        )
    )
    with torch.no_grad():
        ours.weight.normal_().div_(in_width)
        if ours.bias is not None:
            ours.bias.normal_()
            theirs.weight.copy_(ours.weight.squeeze(1).T)
            theirs.bias.copy_(ours.bias)
        else:
            theirs.w.copy_(ours.weight.permute(2, 0, 1))
    return ours, theirs


class _PolynomialProd(nn.Module):
    """Upstream's basis for this layer; its layer class of 2.6.0 fails to build, for want of the basis's `num_basis`."""

    def __init__(self, layer: ResolvedLayer, *, in_width: int, out_width: int) -> None:
        super().__init__()
        self.basis: Any = LagrangePolyFlatProd(layer.num_nodes)
        self.periodicity = layer.periodicity
        self.w = nn.Parameter(torch.empty(out_width, in_width, layer.num_nodes))

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.periodicity is None else make_periodic(x, self.periodicity)
        output: Tensor = self.basis.interpolate(x, self.w)
        return output


def run(layer: Any, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, gradient to the inputs and gradient to the weights as [in, V, out]."""
    x = x.clone().requires_grad_()
    output = layer(x)
    if isinstance(layer, Links):
        grad_x, grad_w = torch.autograd.grad(output, (x, layer.weight), grad)
    elif hasattr(layer, "w"):
        grad_x, grad_w = torch.autograd.grad(output, (x, layer.w), grad)
        grad_w = grad_w.permute(1, 2, 0)
    else:
        grad_x, grad_w = torch.autograd.grad(output, (x, layer.weight), grad)
        grad_w = grad_w.T.unsqueeze(1)
    return output.detach(), grad_x, grad_w


def assert_close(got: Tensor, expected: Tensor, *, tolerance: float = 1e-5, at_least: float = 0.0) -> None:
    """Within `tolerance` of the largest value, or of `at_least` where that is larger."""
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    if got.numel() == 0:
        return
    scale = max(expected.abs().max().item(), at_least, 1e-30)
    worst = (got - expected).abs().max().item()
    assert worst <= tolerance * scale, f"off by {worst:.3g}, {worst / scale:.3g} of {scale:.3g}"
