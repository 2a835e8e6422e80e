"""Layers of a linear map and a wave behind it: networks of other families, peers of those whose links are learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoir_ray.networks.config import WaveType
from hoir_ray.networks.resolve import ResolvedLayer

HALF_TYPES = (torch.float16, torch.bfloat16)


class Wave(nn.Module):
    """A wave of z = Wx + b for each output; its values lie in [-1, 1].

    - `sine`: sin(omega z). Source: Sitzmann et al. 2020, "Implicit Neural Representations with Periodic Activation
      Functions" (SIREN).
    - `finer`: sin(omega (|z| + 1) z), whose frequency grows with z. Source: Liu et al. 2024, "FINER: Flexible
      Spectral-bias Tuning in Implicit Neural Representation by Variable-periodic Activation Functions". The gradient is
      that of the whole formula; the authors' code holds |z| + 1 constant.
    - `gabor`: cos(omega z) exp(-(scale z)^2), the real part of the wavelet of Saragadam et al. 2023, "WIRE: Wavelet
      Implicit Neural Representations", whose own networks are complex.

    Half precision, autocast's too, is computed in float32, since 8 bits of mantissa cannot tell phases apart.
    """

    def __init__(self, layer: ResolvedLayer, *, in_width: int, out_width: int) -> None:
        super().__init__()
        if layer.layer_type not in ("sine", "finer", "gabor"):
            raise ValueError(f"must be sine, finer or gabor, got {layer.layer_type}")
        self.kind: WaveType = layer.layer_type
        self.omega, self.scale = layer.omega, layer.scale
        self.linear = nn.Linear(in_width, out_width)
        if self.kind != "gabor":  # as its authors have it, gabor keeps a linear layer's weights
            init_siren(self.linear, omega=layer.omega, is_first=layer.is_first)
        if self.kind == "finer" and layer.is_first:
            nn.init.uniform_(self.linear.bias, -layer.bias_range, layer.bias_range)

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_autocast_enabled(x.device.type):
            return self._evaluate(x)
        with torch.autocast(x.device.type, enabled=False):
            return self._evaluate(x)

    def _evaluate(self, x: Tensor) -> Tensor:
        given = self.linear.weight.dtype
        dtype = torch.float32 if given in HALF_TYPES else given
        weight, bias = self.linear.weight.to(dtype), self.linear.bias.to(dtype)
        z = functional.linear(x.to(dtype), weight, bias)
        return wave(z, self.kind, omega=self.omega, scale=self.scale).to(given)

    def extra_repr(self) -> str:
        return f"{self.kind}, omega={self.omega:g}" + (f", scale={self.scale:g}" if self.kind == "gabor" else "")


def wave(z: Tensor, kind: WaveType, *, omega: float, scale: float) -> Tensor:
    """The wave of each element; `scale` is read by `gabor` alone."""
    match kind:
        case "sine":
            return torch.sin(omega * z)
        case "finer":
            return torch.sin(omega * (z.abs() + 1) * z)
        case "gabor":
            return torch.cos(omega * z) * torch.exp(-((scale * z) ** 2))


def init_siren(linear: nn.Linear, *, omega: float, is_first: bool) -> None:
    """Draw the weights so that sines of them keep their distribution from layer to layer; the bias stays.

    A first layer's come from U(-1/n, 1/n), the others' from U(-sqrt(6/n)/omega, sqrt(6/n)/omega), for n inputs.
    """
    bound = 1 / linear.in_features if is_first else math.sqrt(6 / linear.in_features) / omega
    nn.init.uniform_(linear.weight, -bound, bound)
