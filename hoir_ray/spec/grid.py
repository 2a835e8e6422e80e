"""Counts the points of a grid without making them."""

from __future__ import annotations

import math

from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.space import MAX_GRID, Space


def grid_size(space: Space, *, limit: int = MAX_GRID) -> int:
    """Count the points of the grid; any number above `limit` where there are more.

    Raises:
        SpecError: If a range has no step.
    """
    first = {d.path: d for d in reversed(space.dimensions)}
    at_least = math.prod(d.grid_size() for d in first.values() if not d.when)
    return at_least if at_least > limit else _Count(space, limit=limit).below(0, {})


class _Count:
    """Counts what lies behind a partly drawn point, once for each set of drawn values that the rest still asks for."""

    def __init__(self, space: Space, *, limit: int) -> None:
        self._space, self._parents, self._limit = space, space.parents, limit
        self._kinds: dict[int, list[tuple[Scalar, int]]] = {}
        self._asked: list[frozenset[str]] = [frozenset()]
        for dimension in reversed(space.dimensions):
            self._asked.append(self._asked[-1] | {dimension.path, *dimension.when})
        self._asked.reverse()
        self._known: dict[tuple[int, frozenset[tuple[str, str]]], int] = {}

    def below(self, at: int, drawn: dict[str, Scalar]) -> int:
        state = at, frozenset((path, repr(value)) for path, value in drawn.items() if path in self._asked[at])
        if state not in self._known:
            self._known[state] = self._count(at, drawn)
        return self._known[state]

    def _count(self, at: int, drawn: dict[str, Scalar]) -> int:
        count, drawn = 1, dict(drawn)
        for number, dimension in enumerate(self._space.dimensions[at:], start=at):
            if dimension.path in drawn or not dimension.applies(drawn):
                continue
            if dimension.path in self._parents:
                return count * self._branches(number, drawn, limit=self._limit // count)
            drawn[dimension.path] = None  # no condition asks for its value
            count *= dimension.grid_size()
        return count

    def _branches(self, number: int, drawn: dict[str, Scalar], *, limit: int) -> int:
        dimension, total = self._space.dimensions[number], 0
        if number not in self._kinds:
            self._kinds[number] = self._space.told_apart(dimension)
        for value, times in self._kinds[number]:
            total += times * self.below(number + 1, {**drawn, dimension.path: value})
            if total > limit:
                break
        return total
