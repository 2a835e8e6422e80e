"""The work of a sweep before it starts: optimizer steps, room in storage and, from measured steps, time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hoir_ray import wording
from hoir_ray.config import map_paths
from hoir_ray.spec.schema import Resources, SweepSpec
from hoir_ray.sweep.planning.checks import probes
from hoir_ray.sweep.planning.plan import Plan
from hoir_ray.tasks.contract import TaskConfig

MAX_READ = 20  # different inputs that a check reads
_AROUND_S = 0.3  # of a trial, for its start, its pictures and storing it
_EPOCH_BYTES, _PIXEL_BYTES, _WEIGHT_BYTES = 400, 9, 4  # of a record, of a picture's three panels, of a weight


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Most that a sweep may take; trials that are stopped early take less.

    Attributes:
        num_trials: None where only time ends the sweep.
        num_samples: Trained on in an epoch.
        num_epochs: Of the longest trial.
        num_steps: Optimizer steps in an epoch of the smallest and the largest network.
        stored_bytes: If every trial were the best so far; None as `num_trials`.
        trial_s: Of the smallest and the largest network that the constraints leave; None where nothing was measured.
        num_parallel: Trials at the same time on this machine.
    """

    num_trials: int | None
    num_samples: int
    num_epochs: int
    num_steps: tuple[int, int]
    stored_bytes: int | None
    trial_s: tuple[float, float] | None
    num_parallel: int

    @property
    def total_s(self) -> float | None:
        """Time of all trials on this machine, as if they were of average size."""
        if self.trial_s is None or self.num_trials is None:
            return None
        return math.ceil(self.num_trials / self.num_parallel) * (sum(self.trial_s) / 2 + _AROUND_S)

    @property
    def steps(self) -> str:
        low, high = sorted(self.num_steps)
        steps = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        trials = f"{self.num_trials:,} trials" if self.num_trials else "trials"
        return f"{trials} of up to {self.num_epochs:,} epochs, each {steps} steps on {self.num_samples:,} samples"

    @property
    def time(self) -> str:
        if self.trial_s is None:
            return "not measured; --build runs some steps and says"
        low, high = map(_about, sorted(self.trial_s))
        each = low if low == high else f"{low} to {high}"
        total = "" if self.total_s is None else f", so {_about(self.total_s)} in all"
        return (
            f"{each} of training a trial, {self.num_parallel} at a time on this machine{total}; "
            "less where trials are stopped early"
        )

    @property
    def storage(self) -> str:
        return f"at most {wording.size(self.stored_bytes)}" if self.stored_bytes else "as long as the sweep runs"


def _about(seconds: float) -> str:
    return f"about {wording.duration(seconds)}" if seconds >= 1 else "under a second"


def workload_of(plan: Plan, *, num_samples: int, measured: Mapping[str, Mapping[str, float]] | None = None) -> Workload:
    """Add up what the trials of a plan may take.

    Args:
        num_samples: As `read_inputs` gives it.
        measured: As `rehearse` gives it.
    """
    configs = [plan.config(size.point) for size in (plan.smallest, plan.largest)]
    steps = [-(-num_samples // config.training.batch_size) for config in configs]
    num_trials = _num_trials(plan)
    pixels = plan.task.num_pixels(configs[0]) or 0
    each = _EPOCH_BYTES * plan.max_epochs + _PIXEL_BYTES * pixels + _WEIGHT_BYTES * plan.feasible[1]
    trial_s = None
    if measured is not None:
        seconds = [_epoch_s(size, measured) * plan.max_epochs for size in plan.feasible]
        trial_s = seconds[0], seconds[1]
    return Workload(
        num_trials=num_trials,
        num_samples=num_samples,
        num_epochs=plan.max_epochs,
        num_steps=(steps[0], steps[1]),
        stored_bytes=num_trials * each if num_trials else None,
        trial_s=trial_s,
        num_parallel=_parallel_here(plan.spec.resources),
    )


def _epoch_s(num_parameters: int, measured: Mapping[str, Mapping[str, float]]) -> float:
    """Seconds of an epoch of a network between the two that were measured, or as large as one of them."""
    low, high = measured["smallest"], measured["largest"]
    share = (num_parameters - low["num_parameters"]) / max(1, high["num_parameters"] - low["num_parameters"])
    return low["epoch_s"] + share * (high["epoch_s"] - low["epoch_s"])


def read_inputs(plan: Plan) -> int:
    """Read what the sweep's data names, so that what is broken is refused now; returns the training samples.

    Inputs that are in storage only are left out.

    Raises:
        DataError: Naming the file.
    """
    counts = [plan.task.num_samples(config) for config in _by_input(plan)]
    return counts[0] if counts else 0


def _by_input(plan: Plan) -> Iterator[TaskConfig]:
    """A config for each set of files that a trial may be given, that of the smallest network first."""
    seen: set[tuple[str, ...]] = set()
    for point in (plan.smallest.point, *probes(plan.space)):
        config = plan.config(point)
        paths = tuple(_paths(config))
        if paths not in seen and len(seen) < MAX_READ and not any(_is_stored_only(p, plan.spec) for p in paths):
            seen.add(paths)
            yield config


def _paths(config: TaskConfig) -> list[str]:
    found: list[str] = []

    def note(path: str) -> str:
        found.append(path)
        return path

    data = getattr(config, "data", None)
    if data is not None:
        map_paths(type(data), data.model_dump(), note)
    return found


def _is_stored_only(path: str, spec: SweepSpec) -> bool:
    return path in spec.inputs and not Path(path).expanduser().exists()


def _num_trials(plan: Plan) -> int | None:
    ends = [n for n in (plan.grid_size, plan.spec.budget.max_trials) if n is not None]
    return min(ends) if ends else None


def _parallel_here(resources: Resources) -> int:
    fitting = max(1, int((os.cpu_count() or 1) / (resources.cpus * resources.workers)))
    limit = resources.concurrent_trials
    return fitting if limit == "auto" else min(fitting, limit)
