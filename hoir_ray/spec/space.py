"""The search space of a sweep: checked against the task's config, with conditions between parameters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from hoir_ray.config import config_paths, fields_at, nearest
from hoir_ray.errors import SpecError
from hoir_ray.spec.document import Document
from hoir_ray.spec.parameters import ParameterCase, Scalar
from hoir_ray.spec.schema import SweepSpec

MAX_GRID = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One case of a parameter, as the sampler sees it.

    Attributes:
        name: Unique among dimensions: the path, and `@case` behind it when the parameter has several cases.
        choices: The values to choose from, or None for a range.
        step: Spacing of a range's values from `low`; 0 is continuous.
        when: Parent path -> values under which this case applies; all must hold.
    """

    name: str
    path: str
    when: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    choices: tuple[Scalar, ...] | None = None
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    log: bool = False
    is_int: bool = False

    def applies(self, drawn: Mapping[str, Scalar]) -> bool:
        for path, values in self.when.items():  # noqa: SIM110 - a generator takes twice as long, and cases are many
            if path not in drawn or not _among(drawn[path], values):
                return False
        return True

    def snap(self, raw: Scalar) -> Scalar:
        """`raw` on the range's grid; log ranges with a step are drawn continuously and rounded here."""
        if self.choices is not None or not isinstance(raw, (int, float)):
            return raw
        value = float(raw)
        if self.step:
            value = min(self.high, self.low + round((value - self.low) / self.step) * self.step)
        return round(value) if self.is_int else value

    def holds(self, value: Scalar) -> bool:
        """Return whether the value is one that could have been drawn here."""
        if self.choices is not None:
            return _among(value, self.choices)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        return math.isclose(float(self.snap(value) or 0), value, rel_tol=1e-9)

    def grid_size(self) -> int:
        """Count the values; an error for a continuous range."""
        if self.choices is not None:
            return len(self.choices)
        if not self.step:
            raise SpecError(f"{self.path}: a grid needs 'values', or 'q' for the step of a range of decimals")
        return _num_steps(self.low, self.high, self.step) + 1

    def grid(self) -> Iterator[Scalar]:
        """Yield every value, lowest first, made as it is asked for; an error for a continuous range."""
        if self.choices is not None:
            return iter(self.choices)
        return (self._number(self.low + i * self.step) for i in range(self.grid_size()))

    def corners(self) -> list[Scalar]:
        """The least and the greatest value, or every choice."""
        return list(self.choices) if self.choices is not None else [self._number(self.low), self._number(self.high)]

    def _number(self, value: float) -> Scalar:
        return round(value) if self.is_int else value


Draw = Callable[[Dimension], Scalar]


@dataclass(frozen=True)
class Space:
    """Dimensions ordered so that a case comes after the parameters that it depends on."""

    dimensions: tuple[Dimension, ...]

    def draw(self, ask: Draw) -> dict[str, Scalar]:
        """One point: parameter path -> value. `ask` is called once for each dimension that applies."""
        drawn: dict[str, Scalar] = {}
        for dimension in self.dimensions:
            if dimension.path not in drawn and dimension.applies(drawn):
                drawn[dimension.path] = dimension.snap(ask(dimension))
        return drawn

    def points(self, values: Callable[[Dimension], Iterable[Scalar]]) -> Iterator[dict[str, Scalar]]:
        """Yield every combination of each dimension's `values`, respecting conditions."""

        def extend(at: int, drawn: dict[str, Scalar]) -> Iterator[dict[str, Scalar]]:
            while at < len(self.dimensions):
                dimension = self.dimensions[at]
                at += 1
                if dimension.path not in drawn and dimension.applies(drawn):
                    for value in values(dimension):
                        yield from extend(at, {**drawn, dimension.path: value})
                    return
            yield drawn

        return extend(0, {})

    def told_apart(self, dimension: Dimension) -> list[tuple[Scalar, int]]:
        """One value for each way in which conditions tell the dimension's values apart, and how many are like it."""
        named: dict[tuple[bool, Scalar], list[int]] = {}
        for number, each in enumerate(self.dimensions):
            for value in each.when.get(dimension.path, ()):
                named.setdefault((isinstance(value, bool), value), []).append(number)
        held = {key: tuple(numbers) for key, numbers in named.items() if dimension.holds(key[1])}
        kinds: dict[tuple[int, ...], list[Scalar]] = {}
        for (_, value), numbers in held.items():
            kinds.setdefault(numbers, []).append(value)
        found = [(values[0], len(values)) for values in kinds.values()]
        if (num_others := dimension.grid_size() - len(held)) > 0:
            found.append((next(v for v in dimension.grid() if (isinstance(v, bool), v) not in held), num_others))
        return found

    def dimension_of(self, path: str, drawn: Mapping[str, Scalar]) -> Dimension | None:
        """The case of `path` that applies to a drawn point."""
        return next((d for d in self.dimensions if d.path == path and d.applies(drawn)), None)

    def dimensions_of(self, point: Mapping[str, Scalar]) -> list[Dimension]:
        """The cases from which a point's values were drawn."""
        found = (self.dimension_of(path, point) for path in point)
        return [d for d in found if d is not None]

    @property
    def parents(self) -> frozenset[str]:
        return frozenset(path for d in self.dimensions for path in d.when)


def build_space(spec: SweepSpec, config: type[BaseModel], document: Document | None = None) -> Space:
    """Check every path, type, range and condition of `spec.parameters` against the task's config.

    Raises:
        SpecError: One line for each thing that is wrong, with its place in the document.
    """
    problems: list[str] = []

    def report(path: str, complaint: str) -> None:
        place = f" ({document.place('parameters', path)})" if document else ""
        problems.append(f"{path}: {complaint}{place}")

    known = config_paths(config)
    dimensions: list[Dimension] = []
    for path, cases in spec.parameters.items():
        fields = fields_at(config, path)
        if not fields:
            parent, _, last = path.rpartition(".")
            near = nearest(path, known) or nearest(last, [k.removeprefix(f"{parent}.") for k in known])
            report(path, f"unknown parameter of task '{spec.task}'.{near}")
            continue
        if path.startswith("data.") and path.removeprefix("data.") in spec.data:
            report(path, "is fixed under 'data' and searched under 'parameters'; keep one of the two")
        for number, case in enumerate(cases):
            try:
                dimensions.append(_dimension(path, case, number=number, num_cases=len(cases), fields=fields))
            except ValueError as error:
                report(path, str(error))
            except OverflowError:
                report(path, "holds a number that is too large to be searched")
    _check_conditions(dimensions, spec.parameters.keys(), report)
    if problems:
        raise SpecError("\n".join(problems))
    return Space(_ordered(dimensions, report, problems))


def _dimension(
    path: str, case: ParameterCase, *, number: int, num_cases: int, fields: list[TypeAdapter[Any]]
) -> Dimension:
    name = path
    if num_cases > 1:
        label = "+".join(str(v) for values in case.when.values() for v in values) or "otherwise"
        name = f"{path}@{label or number}"
    if case.min is None or case.max is None:
        values = case.values if case.values is not None else (case.value,)
        return Dimension(name=name, path=path, when=case.when, choices=tuple(_checked(v, fields)[0] for v in values))
    low, is_int = _checked(case.min, fields)
    high, _ = _checked(case.max, fields)
    if is_int and case.q is not None and float(case.q) != int(case.q):
        raise ValueError(f"takes whole numbers, so 'q' must be whole, got {case.q}")
    step = float(case.q if case.q is not None else (1 if is_int else 0))
    top = float(low) + step * _num_steps(float(low), float(high), step) if step and not case.is_log else high
    return Dimension(
        name=name,
        path=path,
        when=case.when,
        low=float(low),
        high=float(top),
        step=step,
        log=case.is_log,
        is_int=is_int,
    )


def _checked(value: Scalar, fields: list[TypeAdapter[Any]]) -> tuple[Any, bool]:
    """The value as a field reads it, and whether that field takes whole numbers only."""
    complaint = ""
    for adapter in fields:
        try:
            read = adapter.validate_python(value)
        except ValidationError as error:
            complaint = complaint or f"{error.errors()[0]['msg'].removeprefix('Input ')}, got {value!r}"
            continue
        if isinstance(value, bool) == isinstance(read, bool) and (not isinstance(value, str) or isinstance(read, str)):
            return value if isinstance(read, (list, tuple)) else read, isinstance(read, int)
        complaint = complaint or f"takes a {type(read).__name__}, got {value!r}"
    raise ValueError(complaint)


def _check_conditions(dimensions: list[Dimension], paths: Any, report: Callable[[str, str], None]) -> None:
    known = {d.path for d in dimensions}
    for dimension in dimensions:
        for parent, wanted in dimension.when.items():
            if parent not in paths:
                report(dimension.path, f"'when' names '{parent}', which is no parameter here.{nearest(parent, paths)}")
                continue
            if parent not in known:
                continue
            cases = [d for d in dimensions if d.path == parent]
            if any(d.choices is None and not d.step for d in cases):
                report(dimension.path, f"'when' depends on '{parent}', which must be finite, not a range of decimals")
                continue
            for value in wanted:
                if not any(d.holds(value) for d in cases):
                    possible = itertools.chain.from_iterable(d.grid() for d in cases)
                    shown = ", ".join(map(str, itertools.islice(possible, 20)))
                    report(dimension.path, f"'when: {parent}: {value}' never holds; {parent} is one of {shown}")


def _ordered(
    dimensions: list[Dimension], report: Callable[[str, str], None], problems: list[str]
) -> tuple[Dimension, ...]:
    ordered: list[Dimension] = []
    waiting: dict[str, list[Dimension]] = {}
    for dimension in dimensions:
        waiting.setdefault(dimension.path, []).append(dimension)
    while waiting:
        # All cases of one parameter are released together, so that a later case never sees an earlier one undrawn.
        whole = [path for path, cases in waiting.items() if all(waiting.keys().isdisjoint(d.when) for d in cases)]
        ready = [d for path in whole for d in waiting[path]]
        ready = ready or [d for cases in waiting.values() for d in cases if waiting.keys().isdisjoint(d.when)]
        released = set(map(id, ready))
        if not ready:
            circle = sorted(waiting)
            report(circle[0], f"'when' goes round in a circle through {', '.join(circle)}")
            raise SpecError("\n".join(problems))
        ordered += ready
        left = {path: [d for d in cases if id(d) not in released] for path, cases in waiting.items()}
        waiting = {path: cases for path, cases in left.items() if cases}
    return tuple(ordered)


def _num_steps(low: float, high: float, step: float) -> int:
    """Steps between the ends of a range.

    Raises:
        OverflowError: If there are too many to be counted.
    """
    return math.floor((high - low) / step + 1e-9)


def _among(value: Scalar, values: Any) -> bool:
    """Equality that tells True from 1 and 1 from "1"."""
    # `in` alone is much sooner done, and thousands of cases are asked at each point.
    return value in values and any(value == v and isinstance(value, bool) == isinstance(v, bool) for v in values)
