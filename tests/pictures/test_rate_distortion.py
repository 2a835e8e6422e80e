"""Bjøntegaard's mean difference between two curves: values that are known, and scipy's interpolation beside ours."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from hoir_ray.pictures.rate_distortion import RatePoint, bd_rate

# Measured with x265 at two presets, in kbit/s and dB: an example that implementations are compared by.
ANCHOR = {9487.76: 40.037, 4593.60: 38.615, 2486.44: 36.845, 1358.24: 34.851}
TEST = {9787.80: 40.121, 4469.00: 38.651, 2451.52: 36.970, 1356.24: 34.987}


def points(curve: dict[float, float], *, scale: float = 1000.0) -> list[RatePoint]:
    return [RatePoint(size_bytes=round(r * scale), psnr_db=q, ssim=q / 50) for r, q in curve.items()]


def scipy_rate(curve: dict[float, float], other: dict[float, float]) -> float:
    ends = [sorted(c.values()) for c in (curve, other)]
    low, high = max(e[0] for e in ends), min(e[-1] for e in ends)
    integrals = []
    for each in (curve, other):
        qualities, rates = np.array(sorted((q, np.log(r)) for r, q in each.items())).T
        integrals.append(PchipInterpolator(qualities, rates).integrate(low, high))
    return 100 * np.expm1((integrals[0] - integrals[1]) / (high - low))


def test_known_values_of_an_example() -> None:
    found = bd_rate(points(TEST), points(ANCHOR))
    assert found is not None
    assert found.percent == pytest.approx(scipy_rate(TEST, ANCHOR), abs=1e-3)
    assert found.percent == pytest.approx(-4.4175, abs=1e-4)
    assert (found.low, found.high) == (34.987, 40.037)
    back = bd_rate(points(ANCHOR), points(TEST))
    assert back is not None
    assert (1 + found.percent / 100) * (1 + back.percent / 100) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("quality", ["psnr_db", "ssim"])
@pytest.mark.parametrize(("factor", "percent"), [(2.0, 100.0), (0.5, -50.0), (1.0, 0.0)])
def test_twice_the_bytes_everywhere_are_a_hundred_percent_more(quality: str, factor: float, percent: float) -> None:
    found = bd_rate(points(ANCHOR, scale=1000 * factor), points(ANCHOR), quality=quality)
    assert found is not None
    assert found.percent == pytest.approx(percent, abs=1e-3)


def test_two_points_each_are_lines() -> None:
    """ln of the bytes is 1 and 3 at the ends of one, 2 and 2 of the other: the same on average."""
    ours = [RatePoint(size_bytes=b, psnr_db=q, ssim=0) for b, q in ((1000, 20), (100_000, 30))]
    other = [RatePoint(size_bytes=b, psnr_db=q, ssim=0) for b, q in ((10_000, 20), (10_001, 30))]
    found = bd_rate(ours, other)
    assert found is not None
    assert found.percent == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("seed", range(20))
def test_any_curves_are_what_scipy_makes_of_them(seed: int) -> None:
    generator = np.random.default_rng(seed)

    def curve() -> dict[float, float]:
        num = int(generator.integers(2, 9))
        rates = np.cumsum(generator.integers(1, 5000, num)) / 1000
        return dict(zip(rates.tolist(), (20 + np.cumsum(generator.exponential(3, num))).tolist(), strict=True))

    one, other = curve(), curve()
    found = bd_rate(points(one), points(other))
    ends = [sorted(c.values()) for c in (one, other)]
    if max(e[0] for e in ends) >= min(e[-1] for e in ends):
        assert found is None
    else:
        assert found is not None
        assert found.percent == pytest.approx(scipy_rate(one, other), rel=1e-6, abs=1e-6)


def test_files_that_a_smaller_one_is_as_good_as_change_nothing() -> None:
    worse = [RatePoint(size_bytes=3_000_000, psnr_db=35.0, ssim=0.1), *points(TEST)]
    assert bd_rate(worse, points(ANCHOR)) == bd_rate(points(TEST), points(ANCHOR))


@pytest.mark.parametrize("other", [{}, {1.0: 36.0}, {1.0: 10.0, 2.0: 20.0}, {1.0: 34.0, 2.0: 34.987}])
def test_curves_that_do_not_overlap_have_no_difference(other: dict[float, float]) -> None:
    assert bd_rate(points(TEST), points(other)) is None
    assert bd_rate(points(other), points(TEST)) is None
