"""Checks of a sweep against its task: metrics, trackers, sizes of its networks, and warnings."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hoir_ray.config import nearest
from hoir_ray.errors import RequestError, SpecError
from hoir_ray.networks.resolve import unused_fields
from hoir_ray.spec.conditions import STATIC_METRICS, parse_condition
from hoir_ray.spec.document import Document
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.schema import Resources, SweepSpec
from hoir_ray.spec.space import Dimension, Space
from hoir_ray.spec.stored import stored_metrics_of
from hoir_ray.sweep.planning.candidate import NetworkSize, static_metrics, trial_config
from hoir_ray.sweep.planning.feasibility import feasible_sizes
from hoir_ray.tasks import load_task
from hoir_ray.tasks.contract import Task, TaskConfig
from hoir_ray.trackers import tracker_names

MAX_CORNERS = 2_000


NUM_SAMPLES = 200


def known_task(spec: SweepSpec, document: Document) -> Task[Any]:
    try:
        return load_task(spec.task)
    except SpecError as error:
        raise SpecError(f"{error} ({document.place('task')})") from None


def check_metrics(spec: SweepSpec, task: Task[Any], document: Document | None) -> None:
    known = task.metrics | stored_metrics_of(task.metrics) | task.end_metrics
    for number, metric in enumerate(spec.metrics):
        if metric.name not in known:
            place = ""
            if document is not None:
                single = ("metric",) in document.lines
                keys = ("metric", "name") if single else ("metrics", str(number), "name")
                place = f" ({document.place(*keys)})"
            raise SpecError(
                f"metric: task '{task.name}' has no metric '{metric.name}'.{nearest(metric.name, known)} "
                f"Known: {', '.join(sorted(known))}{place}"
            )
    conditions: list[tuple[str, list[str]]] = [(text, ["constraints"]) for text in spec.constraints]
    if spec.budget.stop_at is not None:
        conditions.append((spec.budget.stop_at, ["budget", "stop_at"]))
    for text, given in conditions:
        try:
            parse_condition(text, known=known)
        except RequestError as error:
            path = ["target"] if spec.target is not None and text == spec.target.constraint else given
            place = f" ({document.place(*path)})" if document else ""
            raise SpecError(f"{'.'.join(path)}: {error}{place}") from None


def unmeasured_metrics(spec: SweepSpec, task: Task[Any], config: TaskConfig) -> dict[str, str]:
    """Metrics that the sweep compares trials by and a trial of this config would not have, in order -> why."""
    rule = config.training.early_stopping
    needed = spec.named_metrics | ({rule.metric} if rule is not None else set())
    return dict(sorted(task.unmeasured(config, needed).items()))


def check_measured(spec: SweepSpec, task: Task[Any], space: Space, document: Document | None) -> None:
    """Refuse a sweep by a metric that no trial would have."""
    missing: dict[str, str] = {}
    for point in probes(space):
        missing = unmeasured_metrics(spec, task, trial_config(spec, task, point))
        if not missing:
            return
    place = f" ({document.place('metric')})" if document else ""
    raise SpecError(
        f"metric: {', '.join(missing)}: not measured with any of the settings of this sweep: "
        f"{'; '.join(dict.fromkeys(missing.values()))}{place}"
    )


def check_stopping(spec: SweepSpec, document: Document | None) -> None:
    """Refuse a rule that would stop what a target asks for."""
    rule = spec.early_terminate.type
    if spec.target is not None and spec.searches_size and rule not in ("forecast", "none"):
        place = f" ({document.place('early_terminate')})" if document else ""
        raise SpecError(
            f"early_terminate: {rule} compares trials by {spec.epoch_metric.name} and would stop the small networks "
            f"that {spec.target.constraint} leaves; forecast stops those that cannot reach it{place}"
        )


def check_trackers(spec: SweepSpec, document: Document | None) -> None:
    known = tracker_names()
    for name in spec.trackers:
        if name not in known:
            place = f" ({document.place('trackers', name)})" if document else ""
            shown = ", ".join(known)
            raise SpecError(f"trackers.{name}: unknown tracker.{nearest(name, known)} Known: {shown}{place}")


def sizes_of(
    spec: SweepSpec, task: Task[Any], space: Space, document: Document | None
) -> tuple[NetworkSize, NetworkSize]:
    smallest: NetworkSize | None = None
    largest: NetworkSize | None = None
    for point in probes(space):
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


def check_feasible(
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


def probes(space: Space) -> Iterator[dict[str, Scalar]]:
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


def warnings_of(
    spec: SweepSpec,
    task: Task[Any],
    space: Space,
    smallest: NetworkSize,
    largest: NetworkSize,
    *,
    grid_size: int | None,
) -> Iterator[str]:
    yield from _resource_warnings(spec.resources)
    if spec.searches_size and spec.early_terminate.type not in ("forecast", "none"):
        yield (
            f"early_terminate: {spec.early_terminate.type} compares trials by {spec.epoch_metric.name} and may stop "
            "the small networks that are searched; forecast does not"
        )
    if spec.method == "gp":
        yield "method: 'gp' is now what 'bayes' is; it was Optuna's, which drew all parameters with a 'when' at random"
    unused: set[str] = set()
    of_configs: set[str] = set()
    for point in probes(space):
        config = trial_config(spec, task, point)
        unused |= {path for path in unused_fields(config.network) if path in spec.parameters}
        of_configs |= set(task.warnings(config))
    yield from sorted(of_configs)
    for path in sorted(unused):
        yield f"{path}: changes nothing in some of the points; give it a 'when:' so that no trial is spent on it"
    limit = spec.budget.max_trials
    if grid_size is not None and limit is not None and grid_size > limit:
        yield f"budget.max_trials: the grid has {grid_size:,} points, and only {limit:,} will be tried"
    for text in spec.constraints:
        condition = parse_condition(text)
        if condition.names <= STATIC_METRICS:
            configs = [trial_config(spec, task, size.point) for size in (smallest, largest)]
            ends = [static_metrics(task, config, names=condition.names) for config in configs]
            if all(condition.holds(end) for end in ends):
                yield f"constraints: '{text}' holds for the smallest and the largest network; it may exclude nothing"
