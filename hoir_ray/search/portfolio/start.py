"""The points of a portfolio that a sweep's space allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hoir_ray.search.portfolio.document import Portfolio
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.space import Dimension, Space

Point = Mapping[str, Scalar]


@dataclass(frozen=True)
class StartPoints:
    """Points to try first.

    Attributes:
        points: Values by path; a parameter that a configuration does not have is drawn as usual.
        left_out: Why the others are not among them, one line each.
    """

    points: tuple[Point, ...]
    left_out: tuple[str, ...]


def start_points(
    portfolio: Portfolio,
    space: Space,
    *,
    refuse: Callable[[dict[str, Scalar]], str | None],
    name: str,
    count: int = 8,
    several_sizes: bool = False,
) -> StartPoints:
    """The first few configurations that fit, from the band of the largest networks down.

    Args:
        refuse: Why a whole point cannot be tried, or None.
        name: Of the portfolio, for what is said of it.
        count: Of points at most.
        several_sizes: Whether small networks are wanted as well, and not only where large ones cannot be tried.
    """
    points: list[Point] = []
    total, misfits = 0, dict[str, None]()
    for configuration in _in_turn(portfolio, several_sizes=several_sizes):
        if len(points) == count:
            break
        total += 1
        point = snapped(configuration, space)
        if isinstance(point, str):
            misfits[point] = None
        elif point not in points and (not _is_whole(point, space) or refuse(dict(point)) is None):
            points.append(point)
    if points:
        return StartPoints(tuple(points), ())
    why = f", such as {next(iter(misfits))}" if misfits else ""
    return StartPoints((), (f"none of the {total} configurations of {name} fits this space{why}",))


def _in_turn(portfolio: Portfolio, *, several_sizes: bool) -> Iterator[dict[str, Scalar]]:
    """Band by band, or the first of each, the second of each, and so on."""
    if not several_sizes:
        for band in portfolio.bands:
            yield from band.configurations
        return
    longest = max(len(band.configurations) for band in portfolio.bands)
    for place in range(longest):
        for band in portfolio.bands:
            if place < len(band.configurations):
                yield band.configurations[place]


def unknown_paths(portfolio: Portfolio, space: Space) -> tuple[str, ...]:
    """Parameters of the portfolio that the space neither searches nor sets."""
    known = {path for d in space.dimensions for path in (d.path, general_path(d.path))}
    named = dict.fromkeys(path for band in portfolio.bands for c in band.configurations for path in c)
    return tuple(path for path in named if path not in known)


def general_path(path: str) -> str:
    """The whole network's setting behind a layer's: `network.layer_type` for `network.input.layer_type`."""
    parts = path.split(".")
    return f"network.{parts[-1]}" if parts[0] == "network" and len(parts) == 3 else path


def snapped(configuration: Mapping[str, Scalar], space: Space) -> Point | str:
    """The configuration in a space: numbers moved to the nearest that it has; or why it cannot be in it.

    What the space does not search is left to the sweep, and what only the space searches is left open. A setting of the
    whole network stands for those of its layers, as in a config, where they allow it.
    """
    point: dict[str, Scalar] = {}
    for dimension in space.dimensions:
        if dimension.path in point or not dimension.applies(point):
            continue
        key = next((k for k in (dimension.path, general_path(dimension.path)) if k in configuration), None)
        if key is None:
            if dimension.choices is not None and len(dimension.choices) == 1:
                point[dimension.path] = dimension.choices[0]
            continue
        nearest = _nearest(dimension, configuration[key])
        if nearest is None and not dimension.holds(None):
            if key == dimension.path:
                return f"{dimension.path}: {configuration[key]} is not among the values searched here"
            continue
        point[dimension.path] = nearest
    searched = {d.path for d in space.dimensions if len(d.corners()) > 1}
    if not any({path, general_path(path)} & configuration.keys() for path in searched & point.keys()):
        return "it has none of the parameters searched here"
    return point


def _nearest(dimension: Dimension, value: Scalar) -> Scalar:
    """The dimension's value closest to a number; the value itself where it is no number; None if there is none."""
    if dimension.holds(value):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    if dimension.choices is None:
        return dimension.snap(min(max(float(value), dimension.low), dimension.high))
    numbers = [c for c in dimension.choices if isinstance(c, (int, float)) and not isinstance(c, bool)]
    return min(numbers, key=lambda c: abs(c - value), default=None) if len(numbers) > 1 else None


def _is_whole(point: Point, space: Space) -> bool:
    return all(d.path in point for d in space.dimensions if d.applies(point))
