"""Points of a conditional space as vectors of one length, and numbers as places between 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.space import Dimension, Space

NEUTRAL = 0.5  # of a number that does not apply: as far from both ends
CHOICE_WEIGHT = 0.8  # of a one-hot column; two choices are then 1.13 apart, about as far as the ends of a range


@dataclass(frozen=True)
class Scale:
    """A number's place between its lowest and its highest value, in the logarithm where its ratios matter."""

    low: float
    high: float
    log: bool

    def unit(self, value: float) -> float:
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)  # halves, so that no difference overflows

    def value(self, unit: float) -> float:
        unit = min(max(unit, 0.0), 1.0)
        if self.log:
            between = math.exp(math.log(self.low) * (1 - unit) + math.log(self.high) * unit)
        else:
            between = self.low * (1 - unit) + self.high * unit
        return min(max(between, self.low), self.high)


def scale_of(dimensions: Sequence[Dimension]) -> Scale | None:
    """The scale that all cases of a parameter share; None where they are no numbers, or there is one value only."""
    values = [c for d in dimensions for c in d.corners()]
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
        return None
    numbers = [float(v) for v in values if isinstance(v, (int, float))]
    low, high = min(numbers), max(numbers)
    if not low < high:
        return None
    return Scale(low, high, log=low > 0 and all(_in_ratios(d) for d in dimensions))


def _in_ratios(dimension: Dimension) -> bool:
    """Counts and listed values are thought of in ratios: 8, 16, 32; a range of decimals says what it is."""
    return dimension.log or dimension.is_int or dimension.choices is not None


@dataclass(frozen=True)
class _Column:
    """Columns of one parameter: a place on its scale, or a one-hot mark for each of its choices."""

    path: str
    scale: Scale | None
    choices: tuple[Scalar, ...]

    def encode(self, point: Mapping[str, Scalar]) -> list[float]:
        value = point.get(self.path)
        if self.scale is not None:
            return [self.scale.unit(float(value)) if isinstance(value, (int, float)) else NEUTRAL]
        given = repr(value) if self.path in point else None
        return [CHOICE_WEIGHT if given == repr(c) else 0.0 for c in self.choices]


class Encoding:
    """Turns points into vectors: (D,) in about [0, 1], the same length whatever applies.

    A parameter that does not apply has a neutral value, so that it tells no two points apart. Facts that are known of a
    point without training it, such as `num_parameters`, follow as logarithms.

    Args:
        facts: Of some points of the space; their range scales the columns of facts.
    """

    def __init__(self, space: Space, *, facts: Sequence[Mapping[str, float]] = ()) -> None:
        self._columns = [_Column(path, *parts) for path, parts in _varying(space)]
        self._facts = {name: scale for name in sorted(set().union(*facts)) if (scale := _fact_scale(name, facts))}
        self.num_columns = sum(1 if c.scale else len(c.choices) for c in self._columns) + len(self._facts)

    def encode(self, point: Mapping[str, Scalar], *, facts: Mapping[str, float]) -> Float[np.ndarray, " D"]:
        row = [x for column in self._columns for x in column.encode(point)]
        row += [_fact(facts.get(name), scale) for name, scale in self._facts.items()]
        return np.array(row)


def _varying(space: Space) -> Iterable[tuple[str, tuple[Scale | None, tuple[Scalar, ...]]]]:
    """Path -> scale and choices, of parameters that take more than one value."""
    for path in dict.fromkeys(d.path for d in space.dimensions):
        cases = [d for d in space.dimensions if d.path == path]
        scale = scale_of(cases)
        values = list({repr(v): v for d in cases for v in (d.corners() if d.choices is None else d.choices)}.values())
        if scale is not None or len(values) > 1:
            yield path, (scale, tuple(values))


def _fact_scale(name: str, facts: Sequence[Mapping[str, float]]) -> Scale | None:
    values = [f[name] for f in facts if f.get(name, 0.0) > 0]
    return Scale(min(values), max(values), log=True) if values and min(values) < max(values) else None


def _fact(value: float | None, scale: Scale) -> float:
    return NEUTRAL if value is None or value <= 0 else scale.unit(value)
