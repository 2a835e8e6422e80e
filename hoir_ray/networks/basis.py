"""The functions of one variable that a link is a weighted sum of: Lagrange polynomials, Fourier components, identity.

A basis turns inputs [batch, in] into values [batch, in, n] and the first of the n table rows that they weigh. These are
the reference in plain differentiable operations; `native` computes the same on the CPU.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

FLOAT32_NODES = 64  # with more, products of distances leave the range of float32 and are taken in float64


class Basis(Protocol):
    """Functions of one variable of which a layer's links are weighted sums.

    Attributes:
        num_values: n, how many basis functions differ from zero at one input.
        num_rows: V, how many weights a link has.
    """

    @property
    def num_values(self) -> int: ...

    @property
    def num_rows(self) -> int: ...

    def __hash__(self) -> int: ...

    def __call__(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """First rows [batch, in], None where n = V, and values [batch, in, n]."""
        ...


@functools.lru_cache(maxsize=256)
def nodes(n: int, dtype: torch.dtype) -> tuple[float, ...]:
    """Chebyshev-Lobatto points from -1 to 1, rounded as upstream rounds them in this precision."""
    arange = torch.arange(n, dtype=dtype, device="cpu")
    points: list[float] = (-torch.cos(torch.pi * arange / (n - 1))).tolist()
    return tuple(points)


@functools.lru_cache(maxsize=256)
def factors(n: int, dtype: torch.dtype) -> tuple[float, ...]:
    """One over each basis polynomial's value at its own node, distances doubled to keep the products near one."""
    points = nodes(n, dtype)
    return tuple(1 / math.prod(2 * (p - q) for q in points if q != p) for p in points)


def lagrange(x: Tensor, n: int) -> Tensor:
    """Values [..., n] of the Lagrange polynomials through n nodes; exactly zero at every node but their own."""
    if n > FLOAT32_NODES and x.dtype == torch.float32:
        return _lagrange(x.double(), n, torch.float32).float()
    return _lagrange(x, n, x.dtype)


def _lagrange(x: Tensor, n: int, dtype: torch.dtype) -> Tensor:
    distances = [2 * (x - point) for point in nodes(n, dtype)]
    one = torch.ones_like(x)
    left, right = [one], [one]
    for m in range(n - 1):
        left.append(left[-1] * distances[m])
        right.append(right[-1] * distances[n - 1 - m])
    own = factors(n, dtype)
    return torch.stack([left[j] * right[n - 1 - j] * own[j] for j in range(n)], dim=-1)


@dataclass(frozen=True)
class Polynomial:
    """One polynomial for the whole line."""

    num_nodes: int

    @property
    def num_values(self) -> int:
        return self.num_nodes

    @property
    def num_rows(self) -> int:
        return self.num_nodes

    def __call__(self, x: Tensor) -> tuple[None, Tensor]:
        return None, lagrange(x, self.num_nodes)


@dataclass(frozen=True)
class Piecewise:
    """A polynomial for each of equal segments of [-1, 1]; the outer ones extend beyond it.

    `stride` is the distance between the first weights of neighbouring segments: num_nodes - 1 where they share the
    weight at their border (continuous), num_nodes where they do not (discontinuous).
    """

    num_nodes: int
    segments: int
    stride: int

    @property
    def num_values(self) -> int:
        return self.num_nodes

    @property
    def num_rows(self) -> int:
        return self.stride * (self.segments - 1) + self.num_nodes

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Upstream's order of operations: another one would put inputs at a border into the other segment.
        # Clamped as a float, since an infinity has no integer, and again as an integer, since NaN has none either.
        position = ((x.detach() + 1.0) / 2.0) * self.segments
        segment = position.clamp(0, self.segments - 1).long().clamp(0, self.segments - 1)
        # By a tensor: on a GPU torch divides by a number by multiplying with its reciprocal, which rounds otherwise.
        count = torch.full((), float(self.segments), dtype=x.dtype, device=x.device)
        low, high = (index.to(x.dtype) / count * 2 - 1 for index in (segment, segment + 1))
        return segment * self.stride, lagrange(2.0 * ((x - low) / (high - low)) - 1.0, self.num_nodes)


@dataclass(frozen=True)
class Fourier:
    """Sines and cosines of period 2: 1/2, sin, cos, sin of twice, cos of twice, and so on."""

    num_components: int

    @property
    def num_values(self) -> int:
        return self.num_components

    @property
    def num_rows(self) -> int:
        return self.num_components

    def __call__(self, x: Tensor) -> tuple[None, Tensor]:
        # One sine for all: cosines a quarter of a turn ahead, the constant as half a cosine that does not turn.
        index = torch.arange(self.num_components, device=x.device)
        rates = (torch.pi * ((index + 1) // 2).double()).to(x.dtype)
        phases = (torch.pi / 2 * (index % 2 == 0).double()).to(x.dtype)
        waves = torch.sin(x.unsqueeze(-1) * rates + phases)
        return None, waves * torch.where(index == 0, 0.5, 1.0).to(x.dtype)


@dataclass(frozen=True)
class Identity:
    """The input itself, for the product layer, whose links are lines through the origin."""

    num_values: int = 1
    num_rows: int = 1

    def __call__(self, x: Tensor) -> tuple[None, Tensor]:
        return None, x.unsqueeze(-1)


def fold(x: Tensor, period: float) -> Tensor:
    """Mirror images: inside [-period / 2, period / 2] nothing changes, outside the line is folded back and forth."""
    shifted = torch.remainder(x + 0.5 * period, 2 * period)
    return torch.where(shifted > period, 2 * period - shifted, shifted) - 0.5 * period
