"""Normalizations between layers, sample by sample; they keep the inputs of the next layer's links in [-1, 1]."""

from __future__ import annotations

from torch import Tensor, nn

from hoir_ray.networks.config import Normalization
from hoir_ray.networks.native.max_abs import EPS, max_abs


class MaxAbs(nn.Module):
    """Divides by the largest magnitude; of equal ones the gradient goes to the one `max` picks, as upstream."""

    def forward(self, x: Tensor) -> Tensor:
        return max_abs(x)


class MaxCenter(nn.Module):
    """Moves the midrange to zero, then divides by half the range."""

    def forward(self, x: Tensor) -> Tensor:
        largest = x.max(dim=1, keepdim=True)[0]
        midrange = 0.5 * (largest + x.min(dim=1, keepdim=True)[0])
        return (x - midrange) / (largest - midrange + EPS)


class L2(nn.Module):
    """Divides by the Euclidean length."""

    def forward(self, x: Tensor) -> Tensor:
        return x / (x.norm(2, 1, keepdim=True) + EPS)


def build_normalization(name: Normalization, *, width: int) -> nn.Module | None:
    match name:
        case "max_abs":
            return MaxAbs()
        case "max_center":
            return MaxCenter()
        case "l2":
            return L2()
        case "layer_norm":
            return nn.LayerNorm(width)
        case "none":
            return None
