"""The plan of a sweep, made before anything starts: configs of trials, network sizes, errors and warnings."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hoir_ray.config import absolute_paths, config_paths, explain, nearest, nest
from hoir_ray.errors import SpecError
from hoir_ray.networks.resolve import unused_fields
from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.conditions import STATIC_METRICS, parse_condition
from hoir_ray.spec.document import Document
from hoir_ray.spec.grid import grid_size as count_grid
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.schema import Resources, SweepSpec
from hoir_ray.spec.space import MAX_GRID, Dimension, Space, build_space
from hoir_ray.sweep.feasibility import feasible_sizes
from hoir_ray.tasks import load_task
from hoir_ray.tasks.contract import Task, TaskConfig
from hoir_ray.trackers import tracker_names

MAX_CORNERS = 2_000
NUM_SAMPLES = 200
MAX_CANDIDATES = 4096  # configs kept, for trials that run and draws that are refused


@dataclass(frozen=True)
class NetworkSize:
    """A point of the space and the number of parameters of its network."""

    point: dict[str, Scalar]
    num_parameters: int


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A point of the space as a trial: its config, its size, and why it is refused.

    Attributes:
        refusal: The constraint that the config alone breaks, in words; None for a point that may be tried.
    """

    config: TaskConfig
    num_parameters: int
    refusal: str | None = None

    @property
    def max_epochs(self) -> int:
        return self.config.training.max_epochs

    def record(self, name: str, *, number: int, parameters: Mapping[str, Scalar]) -> TrialRecord:
        seed = self.config.training.seed
        return TrialRecord(
            trial=name, number=number, parameters=dict(parameters), num_parameters=self.num_parameters, seed=seed
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A checked sweep.

    Attributes:
        spec: With input paths made absolute.
        feasible: The least and the greatest number of parameters that the constraints leave.
        grid_size: Points of the grid for `method: grid`, else None.
        warnings: What is allowed but probably not meant.
    """

    spec: SweepSpec
    task: Task[Any]
    space: Space
    smallest: NetworkSize
    largest: NetworkSize
    feasible: tuple[int, int]
    grid_size: int | None
    warnings: tuple[str, ...]
    _candidates: dict[str, Candidate] = field(default_factory=dict, init=False, repr=False, compare=False)

    def candidate(self, point: Mapping[str, Scalar]) -> Candidate:
        """Turn a point into a config once, however often it is asked for.

        Raises:
            SpecError: If the task's config refuses the combination.
        """
        key = repr(sorted(point.items()))
        if key not in self._candidates:
            if len(self._candidates) >= MAX_CANDIDATES:
                del self._candidates[next(iter(self._candidates))]
            config = trial_config(self.spec, self.task, point)
            num_parameters = self.task.num_parameters(config)
            refusal = self._refusal(num_parameters)
            self._candidates[key] = Candidate(config=config, num_parameters=num_parameters, refusal=refusal)
        return self._candidates[key]

    def config(
        self, point: Mapping[str, Scalar], *, batch_size: int | None = None, seed: int | None = None
    ) -> TaskConfig:
        """The config of the trial that tries `point`.

        Args:
            batch_size: Instead of the point's own, after an out-of-memory.
            seed: Instead of the sweep's, for a trial that is run again.
        """
        config = self.candidate(point).config
        if batch_size is None and seed in (None, config.training.seed):
            return config
        return trial_config(self.spec, self.task, point, batch_size=batch_size, seed=seed)

    @property
    def max_epochs(self) -> int:
        """Of the longest trial."""
        given = [c for d in self.space.dimensions if d.path == "training.max_epochs" for c in d.corners()]
        searched = [int(c) for c in given if isinstance(c, (int, float))]
        return max(searched) if searched else self.config(self.smallest.point).training.max_epochs

    def refuse(self, point: Mapping[str, Scalar]) -> str | None:
        """Return the constraint that the config of `point` alone breaks, in words, or None."""
        return self.candidate(point).refusal

    def _refusal(self, num_parameters: int) -> str | None:
        for condition in map(parse_condition, self.spec.constraints):
            if condition.names <= STATIC_METRICS and not condition.holds({"num_parameters": num_parameters}):
                return f"{condition.text} does not hold for num_parameters {num_parameters:,}"
        return None


def plan_sweep(spec: SweepSpec, document: Document | None = None) -> Plan:
    """Check everything about a sweep that can be checked without data, storage or Ray.

    Raises:
        SpecError: One line for each thing that is wrong, with file and line.
    """
    task = load_task(spec.task) if document is None else _load_task(spec, document)
    if "data" in task.config.model_fields and document is not None:
        base = document.base
        data_type = task.config.model_fields["data"].annotation
        assert isinstance(data_type, type)
        spec = spec.model_copy(update={"data": absolute_paths(data_type, spec.data, base=base)})
    if spec.start_from is not None and document is not None:
        is_file = [s.endswith((".yaml", ".yml")) for s in spec.start_from]
        starts = zip(spec.start_from, is_file, strict=True)
        found = tuple(str((document.base / s).absolute()) if file else s for s, file in starts)
        spec = spec.model_copy(update={"start_from": found})
    _check_metrics(spec, task, document)
    _check_trackers(spec, document)
    space = build_space(spec, task.config, document)
    smallest, largest = _sizes(spec, task, space, document)
    feasible = _feasible(spec, smallest, largest, document)
    grid_size = count_grid(space) if spec.method == "grid" else None
    if grid_size is not None and grid_size > MAX_GRID:
        place = f" ({document.place('method')})" if document else ""
        raise SpecError(f"method: a grid may have {MAX_GRID:,} points at most; this one has more{place}")
    return Plan(
        spec=spec,
        task=task,
        space=space,
        smallest=smallest,
        largest=largest,
        feasible=feasible,
        grid_size=grid_size,
        warnings=tuple(_warnings(spec, task, space, smallest, largest, grid_size=grid_size)),
    )


def trial_config(
    spec: SweepSpec,
    task: Task[Any],
    point: Mapping[str, Scalar],
    *,
    batch_size: int | None = None,
    seed: int | None = None,
) -> TaskConfig:
    """The task's config with the spec's fixed data, the sweep's seed and a point of its space.

    Raises:
        SpecError: If the task's config refuses the combination.
    """
    flat: dict[str, Any] = {"training.seed": spec.seed, **{f"data.{k}": v for k, v in spec.data.items()}, **point}
    if batch_size is not None:
        flat["training.batch_size"] = batch_size
    if seed is not None:
        flat["training.seed"] = seed
    try:
        return task.config.model_validate(nest(flat))
    except ValidationError as error:
        findings = explain(error, known=config_paths(task.config))
        shown = ", ".join(f"{k}={v}" for k, v in point.items())
        raise SpecError("\n".join(f"{path}: {complaint} [{shown}]" for path, complaint in findings)) from None


def _load_task(spec: SweepSpec, document: Document) -> Task[Any]:
    try:
        return load_task(spec.task)
    except SpecError as error:
        raise SpecError(f"{error} ({document.place('task')})") from None


def _check_metrics(spec: SweepSpec, task: Task[Any], document: Document | None) -> None:
    for number, metric in enumerate(spec.metrics):
        if metric.name not in task.metrics:
            place = ""
            if document is not None:
                single = ("metric",) in document.lines
                keys = ("metric", "name") if single else ("metrics", str(number), "name")
                place = f" ({document.place(*keys)})"
            raise SpecError(
                f"metric: task '{task.name}' has no metric '{metric.name}'.{nearest(metric.name, task.metrics)} "
                f"Known: {', '.join(sorted(task.metrics))}{place}"
            )
    for text in spec.constraints:
        try:
            parse_condition(text, known=task.metrics)
        except Exception as error:
            place = f" ({document.place('constraints')})" if document else ""
            raise SpecError(f"constraints: {error}{place}") from None


def _check_trackers(spec: SweepSpec, document: Document | None) -> None:
    known = tracker_names()
    for name in spec.trackers:
        if name not in known:
            place = f" ({document.place('trackers', name)})" if document else ""
            shown = ", ".join(known)
            raise SpecError(f"trackers.{name}: unknown tracker.{nearest(name, known)} Known: {shown}{place}")


def _sizes(
    spec: SweepSpec, task: Task[Any], space: Space, document: Document | None
) -> tuple[NetworkSize, NetworkSize]:
    smallest: NetworkSize | None = None
    largest: NetworkSize | None = None
    for point in _probes(space):
        try:
            size = NetworkSize(point, task.num_parameters(trial_config(spec, task, point)))
        except SpecError as error:
            path = str(error).split(":", 1)[0]
            keys = ("data", path.removeprefix("data.")) if path.startswith("data.") else ("parameters", path)
            raise SpecError(f"{error}" + (f" ({document.place(*keys)})" if document else "")) from None
        if smallest is None or size.num_parameters < smallest.num_parameters:
            smallest = size
        if largest is None or size.num_parameters > largest.num_parameters:
            largest = size
    assert smallest is not None
    assert largest is not None
    return smallest, largest


def _feasible(
    spec: SweepSpec, smallest: NetworkSize, largest: NetworkSize, document: Document | None
) -> tuple[int, int]:
    static = [c for c in map(parse_condition, spec.constraints) if c.names <= STATIC_METRICS]
    ends = smallest.num_parameters, largest.num_parameters
    found = feasible_sizes(static, smallest=ends[0], largest=ends[1])
    if found is None:
        place = f" ({document.place('constraints')})" if document else ""
        raise SpecError(
            f"constraints: no network of this space meets '{' and '.join(c.text for c in static)}'; they have from "
            f"{ends[0]:,} to {ends[1]:,} parameters{place}"
        )
    return found


def _probes(space: Space) -> Iterator[dict[str, Scalar]]:
    """Points that show a space's bounds: every choice with all ranges low, then high, then some at random."""
    for end in (0, -1):

        def ends(dimension: Dimension, end: int = end) -> list[Scalar]:
            corners = dimension.corners()
            return corners if dimension.choices is not None else [corners[end]]

        yield from itertools.islice(space.points(ends), MAX_CORNERS)
    generator = random.Random(0)
    for _ in range(NUM_SAMPLES):
        yield space.draw(lambda d: generator.choice(d.corners()))


def _resource_warnings(resources: Resources) -> Iterator[str]:
    here, cpus = os.cpu_count() or 1, resources.cpus * resources.workers
    if cpus > here:
        yield f"resources.cpus: a trial asks for {cpus:g} CPUs, this machine has {here}: only for a cluster"
    if resources.gpus > 0 and not list(Path("/dev").glob("nvidia[0-9]*")):
        yield f"resources.gpus: a trial asks for {resources.gpus:g} GPUs, this machine has none: only for a cluster"


def _warnings(
    spec: SweepSpec,
    task: Task[Any],
    space: Space,
    smallest: NetworkSize,
    largest: NetworkSize,
    *,
    grid_size: int | None,
) -> Iterator[str]:
    yield from _resource_warnings(spec.resources)
    if spec.method == "gp":
        yield "method: 'gp' is now what 'bayes' is; it was Optuna's, which drew all parameters with a 'when' at random"
    unused: set[str] = set()
    for point in _probes(space):
        config = trial_config(spec, task, point)
        unused |= {path for path in unused_fields(config.network) if path in spec.parameters}
    for path in sorted(unused):
        yield f"{path}: changes nothing in some of the points; give it a 'when:' so that no trial is spent on it"
    limit = spec.budget.max_trials
    if grid_size is not None and limit is not None and grid_size > limit:
        yield f"budget.max_trials: the grid has {grid_size:,} points, and only {limit:,} will be tried"
    for text in spec.constraints:
        condition = parse_condition(text)
        if condition.names <= STATIC_METRICS:
            ends = [condition.holds({"num_parameters": s.num_parameters}) for s in (smallest, largest)]
            if all(ends):
                yield f"constraints: '{text}' holds for the smallest and the largest network; it may exclude nothing"
