"""Landscape of `search.py` over a space of thirteen parameters: the nearest of the networks that were recorded."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from record_curves import WIDE, load_wide, points_of  # type: ignore[import-not-found]  # the file beside this one

from hoir_ray.search.gaussian_process.candidates import random_point
from hoir_ray.search.gaussian_process.encoding import Encoding
from hoir_ray.spec.document import Document, parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.sweep.planning.plan import Plan, plan_sweep

NUM_DRAWS = 2_000
Point = dict[str, Any]
_TEXT = WIDE.replace("method: random\n", "").replace("budget: {max_trials: 1000}\n", "")


@dataclass(frozen=True)
class WideLandscape:
    """Networks that `record_curves.py --wide` trained; every other point learns as the nearest of them does.

    So no curve is made up, and the landscape is no model that one of the contenders could share. A step of it is as
    wide as the recorded networks lie apart, which is least around the best: half of them were found by evolution.

    Attributes:
        limit, curves, noise: As `Landscape` has them.
    """

    name: str = "nearest recorded"
    limit: int | None = None
    curves: Path = Path()
    noise: float = 0.0

    def document(self, more: str = "budget: {max_trials: 1}\n") -> Document:
        limit = f"constraints: [num_parameters <= {self.limit}]\n" if self.limit else ""
        return parse_document(_TEXT + limit + more, name="wide.yaml")

    @functools.cached_property
    def plan(self) -> Plan:
        return plan_sweep(build_spec(self.document()))

    def measured(self, point: Point, *, seed: int) -> list[float]:
        """Its curve as one search measures it; the same for the same point and seed."""
        shift = self.noise * random.Random(f"{seed} {sorted(point.items())}").gauss() if self.noise else 0.0
        return [value + shift for value in self.curve(point)]

    def curve(self, point: Point) -> list[float]:
        """Its PSNR in dB after each epoch."""
        distances = ((self._vectors - self._encoding.encode(point, facts={})) ** 2).sum(axis=1)
        return self._networks[int(np.argmin(distances))][1]

    def feasible(self, point: Point) -> bool:
        return self.limit is None or self.plan.task.num_parameters(self.plan.config(point)) <= self.limit

    @functools.cached_property
    def best(self) -> float:
        """The best that was recorded and keeps the limit."""
        return max(max(curve) for _, curve in self._networks)

    def share(self, goal: float) -> float:
        """Of feasible points drawn at random, those that reach `goal`."""
        generator = np.random.default_rng(0)
        points = [random_point(self.plan.space, generator) for _ in range(NUM_DRAWS)]
        values = [max(self.curve(p)) for p in points if self.feasible(p)]
        return sum(v >= goal for v in values) / max(len(values), 1)

    @functools.cached_property
    def _networks(self) -> list[tuple[Point, list[float]]]:
        found = load_wide(self.curves)
        rows = zip(points_of(found), found["networks"], strict=True)
        kept = [(p, n["val_psnr_db"]) for p, n in rows if self.limit is None or n["num_parameters"] <= self.limit]
        if not kept:
            raise SystemExit(f"{self.curves}: none of its networks has at most {self.limit} parameters")
        return kept

    @functools.cached_property
    def _encoding(self) -> Encoding:
        return Encoding(self.plan.space)

    @functools.cached_property
    def _vectors(self) -> np.ndarray:
        return np.array([self._encoding.encode(point, facts={}) for point, _ in self._networks])


@functools.cache
def wide_landscape_of(limit: int | None, curves: Path, noise: float = 0.0) -> WideLandscape:
    """One for each process, which remembers its networks."""
    return WideLandscape(limit=limit, curves=curves, noise=noise)


def wide_noise_between(curves: Path, again: Path) -> float:
    """The standard deviation of a network's best value between the seeds with which two files were recorded."""
    one, other = load_wide(curves)["networks"], load_wide(again)["networks"]
    ends = [{str(n["point"]): max(n["val_psnr_db"]) for n in networks} for networks in (one, other)]
    return float(np.std([ends[0][key] - ends[1][key] for key in ends[0].keys() & ends[1].keys()], ddof=1) / 2**0.5)


def is_wide(curves: Path) -> bool:
    """Whether a file is of the wide space; those of the grid are plain JSON with a line for each network."""
    return curves.suffix == ".gz" or b'"networks":[' in curves.read_bytes()[:4000]
