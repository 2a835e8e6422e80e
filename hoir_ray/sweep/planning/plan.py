"""The plan of a sweep, made before anything starts: its space, its networks' sizes, errors and warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hoir_ray import wording
from hoir_ray.config import absolute_paths
from hoir_ray.errors import SpecError
from hoir_ray.spec.conditions import parse_condition
from hoir_ray.spec.document import Document
from hoir_ray.spec.grid import grid_size as count_grid
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.spec.space import MAX_GRID, Space, build_space
from hoir_ray.sweep.planning.candidate import KNOWN_BEFORE, Candidate, NetworkSize, static_metrics, trial_config
from hoir_ray.sweep.planning.checks import (
    check_feasible,
    check_measured,
    check_metrics,
    check_stopping,
    check_trackers,
    known_task,
    sizes_of,
    unmeasured_metrics,
    warnings_of,
)
from hoir_ray.tasks import load_task
from hoir_ray.tasks.contract import Task, TaskConfig

MAX_CANDIDATES = 4096  # configs kept, for trials that run and draws that are refused


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
            refusal = self._refusal(config)
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
        """Return why the config of `point` alone rules it out, such as the constraint that it breaks, or None."""
        return self.candidate(point).refusal

    def _refusal(self, config: TaskConfig) -> str | None:
        if missing := unmeasured_metrics(self.spec, self.task, config):
            return (
                f"{', '.join(missing)}: not measured with these settings: {'; '.join(dict.fromkeys(missing.values()))}"
            )
        for condition in map(parse_condition, self.spec.constraints):
            if not condition.names <= KNOWN_BEFORE:
                continue
            known = static_metrics(self.task, config, names=condition.names)
            if condition.names <= known.keys() and not condition.holds(known):
                shown = ", ".join(f"{name} {wording.number(known[name])}" for name in sorted(condition.names))
                return f"{condition.text} does not hold for {shown}"
        return None


def plan_sweep(spec: SweepSpec, document: Document | None = None) -> Plan:
    """Check everything about a sweep that can be checked without data, storage or Ray.

    Raises:
        SpecError: One line for each thing that is wrong, with file and line.
    """
    task = load_task(spec.task) if document is None else known_task(spec, document)
    if "data" in task.config.model_fields and document is not None:
        base = document.base
        data_type = task.config.model_fields["data"].annotation
        assert isinstance(data_type, type)
        spec = spec.model_copy(update={"data": absolute_paths(data_type, spec.data, base=base)})
    if spec.start_from is not None and document is not None:
        there = {s: str((document.base / s.source).absolute()) for s in spec.start_from if s.is_file}
        found = tuple(s.model_copy(update={"source": there.get(s, s.source)}) for s in spec.start_from)
        spec = spec.model_copy(update={"start_from": found})
    check_metrics(spec, task, document)
    check_stopping(spec, document)
    check_trackers(spec, document)
    space = build_space(spec, task.config, document)
    smallest, largest = sizes_of(spec, task, space, document)
    check_measured(spec, task, space, document)
    feasible = check_feasible(spec, smallest, largest, document)
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
        warnings=tuple(warnings_of(spec, task, space, smallest, largest, grid_size=grid_size)),
    )
