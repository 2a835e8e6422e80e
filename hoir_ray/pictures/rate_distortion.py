"""Rate-distortion curves of a picture's files, and Bjøntegaard's mean difference between two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from hoir_ray.config import Config

if TYPE_CHECKING:  # the report, which draws the curves, loads no torch
    from torch import Tensor

Values = Float[np.ndarray, " n"]


class RatePoint(Config):
    """One file of a picture.

    Attributes:
        label: Of a network's file, its name; empty for a codec's.
        psnr_db, ssim: Of what is drawn from the file.
    """

    size_bytes: int
    psnr_db: float
    ssim: float
    label: str = ""


class CodecCurves(Config):
    """Files of one picture by codecs, from small to large, by the codec's name."""

    height: int
    width: int
    codecs: Mapping[str, tuple[RatePoint, ...]]

    @property
    def num_pixels(self) -> int:
        return self.height * self.width


@dataclass(frozen=True, kw_only=True)
class Panels:
    """Pictures to be looked at side by side, the files of which are no larger than that of a network.

    Attributes:
        shown: Caption -> picture; the network's own is the first.
    """

    label: str
    size_bytes: int
    shown: Mapping[str, UInt8[Tensor, "height width 3"]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Networks' files of a picture beside other codecs' files.

    Attributes:
        name: Of the pack or the sweep.
        picture: Where the picture was read from.
        ours: From small to large.
        equal: For each of `ours`, the best file of each codec that is no larger; None where it has none.
        original: The picture, or the middle of a large one, as `panels` show it.
        missing: Codecs that this machine's Pillow lacks.
    """

    name: str
    picture: str
    ours: tuple[RatePoint, ...]
    curves: CodecCurves
    equal: tuple[Mapping[str, RatePoint | None], ...]
    original: UInt8[Tensor, "height width 3"]
    panels: tuple[Panels, ...] = ()
    missing: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Difference:
    """Mean difference in bytes between two curves, over the qualities that both have.

    Attributes:
        percent: More bytes than the other curve, for the same quality; below zero for fewer.
        low, high: Bounds of the qualities.
    """

    percent: float
    low: float
    high: float


def bd_rate(points: Sequence[RatePoint], other: Sequence[RatePoint], *, quality: str = "psnr_db") -> Difference | None:
    """Mean percentage of bytes that `points` need beyond `other` for the same quality, over their overlap.

    The logarithm of the bytes is interpolated over the quality by monotone cubics between the points, and integrated
    exactly. Files that a smaller one is as good as are left out.

    Args:
        quality: `psnr_db` or `ssim`.

    Returns:
        None where one has fewer than two files, or no quality is reached by both.

    Source: Bjøntegaard 2001, "Calculation of average PSNR differences between RD-curves", VCEG-M33, with the piecewise
    interpolation of JCTVC-L1100 in place of one polynomial; Fritsch and Butland 1984 for the slopes.
    """
    first, second = (_curve(p, quality=quality) for p in (points, other))
    if min(len(first[0]), len(second[0])) < 2:
        return None
    low, high = max(first[0][0], second[0][0]), min(first[0][-1], second[0][-1])
    if low >= high:
        return None
    mean = (_integral(*first, low=low, high=high) - _integral(*second, low=low, high=high)) / (high - low)
    return Difference(100 * math.expm1(mean), float(low), float(high))


def _curve(points: Sequence[RatePoint], *, quality: str) -> tuple[Values, Values]:
    """Increasing qualities, and the logarithm of the bytes of each."""
    kept: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda p: (p.size_bytes, -getattr(p, quality))):
        if not kept or getattr(point, quality) > kept[-1][0]:
            kept.append((getattr(point, quality), math.log(point.size_bytes)))
    x, y = np.array(kept, dtype=float).reshape(-1, 2).T
    return x, y


def _integral(x: Values, y: Values, *, low: float, high: float) -> float:
    """Of the monotone cubics through the points; Simpson's rule on each piece, which is exact for cubics."""
    knots = np.concatenate([[low], x[(x > low) & (x < high)], [high]])
    widths, middles = np.diff(knots), (knots[:-1] + knots[1:]) / 2
    slopes = _slopes(x, y)
    ends, between = _interpolate(x, y, slopes, knots), _interpolate(x, y, slopes, middles)
    return float((widths / 6 * (ends[:-1] + 4 * between + ends[1:])).sum())


def _slopes(x: Values, y: Values) -> Values:
    """Slopes at the points that keep the cubics between them monotone."""
    h = np.diff(x)
    d = np.diff(y) / h
    if len(d) == 1:
        return np.array([d[0], d[0]])
    slopes = np.zeros(len(x))
    before, after = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    same = d[:-1] * d[1:] > 0
    slopes[1:-1][same] = ((before + after)[same]) / (before[same] / d[:-1][same] + after[same] / d[1:][same])
    slopes[0] = _end_slope(h[0], h[1], d[0], d[1])
    slopes[-1] = _end_slope(h[-1], h[-2], d[-1], d[-2])
    return slopes


def _end_slope(h0: float, h1: float, d0: float, d1: float) -> float:
    slope = ((2 * h0 + h1) * d0 - h0 * d1) / (h0 + h1)
    if slope * d0 <= 0:
        return 0.0
    return 3 * d0 if d0 * d1 < 0 and abs(slope) > 3 * abs(d0) else slope


def _interpolate(x: Values, y: Values, slopes: Values, at: Values) -> Values:
    """Cubic Hermite interpolation."""
    k = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    h = x[k + 1] - x[k]
    t = (at - x[k]) / h
    value = (1 + 2 * t) * (1 - t) ** 2 * y[k] + t**2 * (3 - 2 * t) * y[k + 1]
    return value + h * (t * (1 - t) ** 2 * slopes[k] + t**2 * (t - 1) * slopes[k + 1])
