"""Landscapes of `search.py`: learning curves recorded from real training, and the space between them."""

from __future__ import annotations

import functools
import json
import math
import random
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from record_curves import CURVES, SPEC, key_of  # type: ignore[import-not-found]  # the file beside this one
from scipy.interpolate import RegularGridInterpolator
from scipy.optimize import differential_evolution

from hoir_ray.spec.document import Document, parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.sweep.planning.plan import Plan, plan_sweep

NUM_DRAWS, MAX_EPOCHS = 2_000, 27
Point = dict[str, Any]
_POINTS = SPEC.replace("method: grid\n", "").replace("values: [8, 16, 24, 32]}", "min: 8, max: 32, q: 8}")
_RANGES = (
    _POINTS.replace("q: 8}", "q: 1}")
    .replace("values: [2, 3, 4]}", "min: 2, max: 4}")
    .replace("values: [3, 5, 8, 12]}", "min: 3, max: 12}")
    .replace("values: [7, 15, 31]}", "min: 7, max: 31}")
    .replace("values: [8, 16, 32, 64]}", "min: 8, max: 64, distribution: log_uniform_values}")
    .replace("values: [0.001, 0.003, 0.01, 0.03]}", "min: 0.001, max: 0.03, distribution: log_uniform_values}")
)
_AXES = ("network.num_nodes", "network.input.segments", "network.hidden.width", "training.optimizer.lr")


@dataclass(frozen=True)
class Landscape:
    """Networks and how each of them learns.

    Attributes:
        name: `recorded`, the points of the grid alone, or `between`, where they span ranges: a curve there is
            interpolated linearly in the logarithm of each number.
        limit: Of the number of parameters, or None.
        curves: The file that `record_curves.py` wrote.
        noise: Standard deviation in dB by which a trial's whole curve lies beside the recorded one.
    """

    name: str
    limit: int | None = None
    curves: Path = CURVES
    noise: float = 0.0

    @property
    def text(self) -> str:
        """The sweep YAML without a budget."""
        text = (_POINTS if self.name == "recorded" else _RANGES).replace("budget: {max_trials: 1000}\n", "")
        return text + (f"constraints: [num_parameters <= {self.limit}]\n" if self.limit else "")

    def document(self, more: str = "budget: {max_trials: 1}\n") -> Document:
        return parse_document(self.text + more, name="search.yaml")

    @functools.cached_property
    def plan(self) -> Plan:
        return plan_sweep(build_spec(self.document()))

    def measured(self, point: Point, *, seed: int) -> list[float]:
        """Its curve as one search measures it; the same for the same point and seed."""
        shift = self.noise * random.Random(f"{seed} {sorted(point.items())}").gauss() if self.noise else 0.0
        return [value + shift for value in self.curve(point)]

    def curve(self, point: Point) -> list[float]:
        """Its PSNR in dB after each epoch."""
        if self.name == "recorded":
            return list(_recorded(self.curves)[key_of(point)]["val_psnr_db"])
        axes, interpolate = _interpolators(self.curves)[point["network.layer_type"]]
        found = interpolate([math.log(point[_AXES[a]]) for a in axes])
        return [float(v) for v in found[0]]

    def feasible(self, point: Point) -> bool:
        return self.limit is None or self.plan.task.num_parameters(self.plan.config(point)) <= self.limit

    @functools.cached_property
    def best(self) -> float:
        """The best value that a long search finds, which starts from every network of the grid."""
        best = max(max(self.curve(p)) for p in _grid() if self.feasible(p))
        return best if self.name == "recorded" else max(best, *(self._best_of(t) for t in _interpolators(self.curves)))

    def _best_of(self, layer_type: str) -> float:
        """Of one layer type, by differential evolution over its ranges."""
        case: Point = {"network.layer_type": layer_type, "training.max_epochs": MAX_EPOCHS}
        dimensions = [d for d in self.plan.space.dimensions if d.path in _AXES and d.applies(case)]

        def loss(x: np.ndarray) -> float:
            values = zip(dimensions, x, strict=True)
            point = {**case, **{d.path: d.snap(min(max(math.exp(v), d.low), d.high)) for d, v in values}}
            return -max(self.curve(point)) if self.feasible(point) else 0.0

        bounds = [(math.log(d.low), math.log(d.high)) for d in dimensions]
        return -float(differential_evolution(loss, bounds, seed=0, maxiter=60, popsize=20, polish=False).fun)

    def share(self, goal: float) -> float:
        """Of the feasible networks, those that reach `goal`."""
        points = list(_grid()) if self.name == "recorded" else self._drawn
        values = [max(self.curve(p)) for p in points if self.feasible(p)]
        return sum(v >= goal for v in values) / len(values)

    @functools.cached_property
    def _drawn(self) -> list[Point]:
        """Points drawn evenly over the ranges; none where there are no ranges."""
        if self.name == "recorded":
            return []
        generator = random.Random(0)

        def draw(dimension: Any) -> Any:
            if dimension.choices is not None:
                return generator.choice(dimension.choices)
            if dimension.log:
                return math.exp(generator.uniform(math.log(dimension.low), math.log(dimension.high)))
            return generator.uniform(dimension.low, dimension.high)

        return [self.plan.space.draw(draw) for _ in range(NUM_DRAWS)]


@functools.cache
def landscape_of(name: str, limit: int | None, curves: Path = CURVES, noise: float = 0.0) -> Landscape:
    """One for each process, which remembers its best."""
    return Landscape(name, limit, curves, noise)


def noise_between(curves: Path, again: Path) -> float:
    """The standard deviation of a network's best value between the seeds with which two files were recorded."""
    ends = [{key: max(found["val_psnr_db"]) for key, found in _recorded(file).items()} for file in (curves, again)]
    return statistics.stdev(ends[0][key] - ends[1][key] for key in ends[0].keys() & ends[1].keys()) / math.sqrt(2)


@functools.cache
def _recorded(curves: Path) -> dict[str, Any]:
    """The file's curves.

    Raises:
        SystemExit: Saying what is wrong with it.
    """
    try:
        found = dict(json.loads(curves.read_text()))
        missing = {key_of(p) for p in _grid()} - {k for k, v in found.items() if len(v["val_psnr_db"]) == MAX_EPOCHS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{curves}: no curves that record_curves.py wrote: {error}") from error
    if missing:
        raise SystemExit(f"{curves}: {len(missing)} networks are missing, such as '{min(missing)}'")
    return found


def _grid() -> Iterator[Point]:
    document = parse_document(SPEC, name="curves.yaml")
    plan = plan_sweep(build_spec(document))
    return plan.space.points(lambda dimension: dimension.grid())


@functools.cache
def _interpolators(curves: Path) -> dict[str, tuple[list[int], RegularGridInterpolator]]:
    """Layer type -> which of the axes it has, and the curve as a function of their logarithms."""
    points: dict[str, list[Point]] = defaultdict(list)
    for point in _grid():
        points[point["network.layer_type"]].append(point)
    found = {}
    for layer_type, group in points.items():
        axes = [a for a, path in enumerate(_AXES) if path in group[0]]
        ticks = [sorted({p[_AXES[a]] for p in group}) for a in axes]
        recorded = {tuple(p[_AXES[a]] for a in axes): _recorded(curves)[key_of(p)]["val_psnr_db"] for p in group}
        table = np.empty((*map(len, ticks), len(next(iter(recorded.values())))))
        for place in np.ndindex(*map(len, ticks)):
            table[place] = recorded[tuple(t[i] for t, i in zip(ticks, place, strict=True))]
        # Logarithms are rounded, so that the ends of a range may lie outside by as little.
        logs = [np.log(t) for t in ticks]
        found[layer_type] = axes, RegularGridInterpolator(logs, table, bounds_error=False, fill_value=None)
    return found
