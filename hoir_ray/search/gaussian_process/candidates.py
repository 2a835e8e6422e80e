"""Points that may be asked for: drawn over the whole space, and near what is good."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hoir_ray.search.gaussian_process.encoding import Scale, scale_of
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.space import Dimension, Space

Point = dict[str, Scalar]
STEPS = (0.02, 0.06, 0.2)  # standard deviations on a parameter's scale, one of them for each neighbour
MOVED, SWITCHED = 0.5, 0.1  # the chance of a number to move, and of a choice


def random_value(dimension: Dimension, generator: np.random.Generator) -> Scalar:
    """Draw a value from the distribution that the sweep's document gives the parameter."""
    if dimension.choices is not None:
        return dimension.choices[int(generator.integers(len(dimension.choices)))]
    if not dimension.low < dimension.high:
        return dimension.low
    if dimension.step and not dimension.log:
        count = round((dimension.high - dimension.low) / dimension.step) + 1
        return dimension.low + int(generator.integers(count)) * dimension.step
    return Scale(dimension.low, dimension.high, log=dimension.log).value(float(generator.random()))


def random_point(space: Space, generator: np.random.Generator, *, given: Mapping[str, Scalar] | None = None) -> Point:
    """A point at random; values `given` are kept where they are among those of a case that applies."""

    def draw(dimension: Dimension) -> Scalar:
        value = (given or {}).get(dimension.path)
        kept = given is not None and dimension.path in given and dimension.holds(value)
        return value if kept else random_value(dimension, generator)

    return space.draw(draw)


class Neighbourhood:
    """Draws points near others: numbers move a little on their scale, choices seldom change."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._scales = {d.name: scale_of([d]) for d in space.dimensions}

    def near(self, point: Mapping[str, Scalar], generator: np.random.Generator) -> Point:
        """One neighbour; what applies to it and did not to `point` is drawn at random."""
        step = float(generator.choice(STEPS))

        def draw(dimension: Dimension) -> Scalar:
            value = point.get(dimension.path)
            if dimension.path not in point or not dimension.holds(value):
                return random_value(dimension, generator)
            scale = self._scales[dimension.name]
            if scale is None or not isinstance(value, (int, float)):
                return random_value(dimension, generator) if generator.random() < SWITCHED else value
            if generator.random() >= MOVED:
                return value
            moved = scale.value(scale.unit(float(value)) + step * float(generator.standard_normal()))
            return _nearest(dimension, moved, value)

        return self._space.draw(draw)


def _nearest(dimension: Dimension, moved: float, before: Scalar) -> Scalar:
    """A value of the dimension close to `moved`: another than before, where there are few."""
    if dimension.choices is None:
        snapped = dimension.snap(moved)
        if snapped == before and dimension.step and isinstance(before, (int, float)):
            beside = float(before) + (dimension.step if moved > before else -dimension.step)
            return dimension.snap(beside) if dimension.low <= beside <= dimension.high else before
        return snapped
    numbers = sorted(c for c in dimension.choices if isinstance(c, (int, float)))
    nearest = min(numbers, key=lambda c: abs(c - moved))
    if nearest != before:
        return nearest
    place = numbers.index(before) + (1 if moved > float(before or 0) else -1)
    return numbers[place] if 0 <= place < len(numbers) else before


@dataclass(frozen=True)
class Candidate:
    """A point and its key."""

    key: str
    point: Point


class Pool:
    """Random points that may be tried, drawn once and shared by all questions; more of them with each question.

    Args:
        refuse: Why a point cannot be tried, or None.
        seed: The same one gives the same points, however they are asked for.

    Attributes:
        num_draws: So far.
        last_refusal: Why the last point that cannot be tried cannot; empty if there was none.
    """

    def __init__(self, space: Space, *, refuse: Callable[[Point], str | None], seed: int) -> None:
        self._space, self._refuse = space, refuse
        self._generator = np.random.default_rng([seed, 0xC0FFEE])
        self._kept: list[tuple[int, Candidate]] = []
        self._keys: set[str] = set()
        self.num_draws, self.last_refusal = 0, ""

    def upto(self, draws: int) -> list[Candidate]:
        """The distinct allowed points among the first `draws`, always in the same order."""
        while self.num_draws < draws:
            point = random_point(self._space, self._generator)
            if (key := key_of(point)) not in self._keys:
                self._keys.add(key)
                if (refusal := self._refuse(point)) is None:
                    self._kept.append((self.num_draws, Candidate(key, point)))
                else:
                    self.last_refusal = refusal
            self.num_draws += 1
        return [candidate for draw, candidate in self._kept if draw < draws]


def key_of(point: Mapping[str, Scalar]) -> str:
    """The same for equal points."""
    return repr(sorted(point.items()))
