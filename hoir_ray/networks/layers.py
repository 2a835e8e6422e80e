"""The layers of a network, and the one place that maps a layer type's name to what computes it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hoir_ray.networks import combine
from hoir_ray.networks.basis import Basis, Fourier, Identity, Piecewise, Polynomial, fold, nodes
from hoir_ray.networks.combine import Join
from hoir_ray.networks.gpu import links as gpu
from hoir_ray.networks.native import links as native
from hoir_ray.networks.resolve import ResolvedLayer
from hoir_ray.networks.waves import HALF_TYPES, Wave, init_siren


class Links(nn.Module):
    """A layer whose every link, from one input to one output, is its own function of one variable.

    The weights lie in a table [in, V, out], where upstream has [out, in, V]: what one input weighs is then contiguous.
    Half precision, autocast's too, is computed in float32, since 8 bits of mantissa cannot tell 200 segments apart.
    """

    def __init__(
        self, *, in_width: int, out_width: int, basis: Basis, join: Join, periodicity: float | None, bias: bool = False
    ) -> None:
        super().__init__()
        self.in_width, self.out_width = in_width, out_width
        self.basis, self.join, self.periodicity = basis, join, periodicity
        self.weight = nn.Parameter(torch.empty(in_width, basis.num_rows, out_width))
        self.bias = nn.Parameter(torch.empty(out_width)) if bias else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw each link as a random constant, in a piecewise sum as a random line through the origin, as upstream."""
        if isinstance(self.basis, Identity):
            bound = 1 / math.sqrt(self.in_width)
            self.weight.uniform_(-bound, bound)
        elif _starts_as_lines(self.basis, self.join):
            slope = torch.rand(self.in_width, 1, self.out_width, device=self.weight.device) * 2 - 1
            self.weight.copy_(slope * _node_positions(self.basis).to(self.weight).reshape(1, -1, 1))
        else:
            constant = torch.rand(self.in_width, 1, self.out_width, device=self.weight.device) / self.in_width
            self.weight.copy_(constant.expand_as(self.weight))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_width)
            self.bias.uniform_(-bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        autocast = torch.is_autocast_enabled(self.weight.device.type)
        self._check(x, autocast=autocast)
        if not autocast:
            return self._evaluate(x)
        with torch.autocast(x.device.type, enabled=False):
            return self._evaluate(x)

    def _evaluate(self, x: Tensor) -> Tensor:
        half = self.weight.dtype in HALF_TYPES
        table = self.weight.float() if half else self.weight
        x = x.to(table.dtype)
        if self.periodicity is not None:
            x = fold(x, self.periodicity)
        on_gpu = gpu.takes(x, table, basis=self.basis, join=self.join)
        path = gpu if on_gpu else native if native.takes(x, self.basis) else combine
        output = path.evaluate(x, table, basis=self.basis, join=self.join)
        if self.bias is not None:
            output = output + self.bias
        return output.to(self.weight.dtype) if half else output

    def _check(self, x: Tensor, *, autocast: bool) -> None:
        if x.device != self.weight.device:
            raise ValueError(f"inputs must be on {self.weight.device}, where the layer is, got {x.device}")
        if x.dim() != 2 or x.shape[1] != self.in_width:
            raise ValueError(f"inputs must have the shape [batch, {self.in_width}], got {list(x.shape)}")
        if x.dtype != self.weight.dtype and not (autocast and x.is_floating_point()):
            raise ValueError(f"inputs must be {self.weight.dtype}, as the layer's weights are, got {x.dtype}")

    def extra_repr(self) -> str:
        return f"{self.in_width}, {self.out_width}, {self.basis}, join={self.join!r}, periodicity={self.periodicity}"


class Switch(nn.Module):
    """The product of two layers alike, one of which can turn the other off."""

    def __init__(self, first: Links, second: Links) -> None:
        super().__init__()
        self.halves = nn.ModuleList([first, second])

    def forward(self, x: Tensor) -> Tensor:
        return self.halves[0](x) * self.halves[1](x)


class LinearRelu(nn.Module):
    """A linear layer with a rectifier behind it."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_width, out_width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.linear(x))


def build_layer(layer: ResolvedLayer, *, in_width: int, out_width: int) -> nn.Module:
    """The layer with fresh weights from torch's global generator."""

    def links(basis: Basis, *, join: Join = "sum", bias: bool = False) -> Links:
        return Links(
            in_width=in_width, out_width=out_width, basis=basis, join=join, periodicity=layer.periodicity, bias=bias
        )

    n = layer.num_nodes
    continuous = Piecewise(n, layer.segments, stride=n - 1)
    discontinuous = Piecewise(n, layer.segments, stride=n)
    match layer.layer_type:
        case "continuous":
            return links(continuous)
        case "continuous_prod":
            return links(continuous, join="prod")
        case "switch_continuous":
            return Switch(links(continuous), links(continuous))
        case "discontinuous":
            return links(discontinuous)
        case "discontinuous_prod":
            return links(discontinuous, join="prod")
        case "switch_discontinuous":
            return Switch(links(discontinuous), links(discontinuous))
        case "polynomial":
            return links(Polynomial(n))
        case "polynomial_prod":
            return links(Polynomial(n), join="prod")
        case "fourier":
            return links(Fourier(n))
        case "product":
            return links(Identity(), join="prod", bias=True)
        case "sine" | "finer" | "gabor":
            return Wave(layer, in_width=in_width, out_width=out_width)
        case "linear":
            linear = nn.Linear(in_width, out_width)
            if layer.siren_omega is not None:
                init_siren(linear, omega=layer.siren_omega, is_first=False)
            return linear
        case "relu":
            return LinearRelu(in_width, out_width)


def _starts_as_lines(basis: Basis, join: Join) -> bool:
    """Upstream's rule: piecewise layers, but of the continuous ones only the sums."""
    return isinstance(basis, Piecewise) and (basis.stride == basis.num_nodes or join == "sum")


def _node_positions(basis: Basis) -> Tensor:
    """Positions on [-1, 1] at which the rows of a piecewise table are the link's values."""
    assert isinstance(basis, Piecewise)
    local = torch.tensor(nodes(basis.num_nodes, torch.float64), dtype=torch.float64)
    starts = torch.arange(basis.segments, dtype=torch.float64).unsqueeze(-1) * 2 / basis.segments - 1
    positions = starts + (local + 1) / basis.segments
    shared = basis.stride < basis.num_nodes
    return torch.cat([positions[:, :-1].flatten(), positions[-1:, -1]]) if shared else positions.flatten()
