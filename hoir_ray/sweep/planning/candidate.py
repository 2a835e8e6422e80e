"""A point of the space as a trial: its config, its size, and the constraint that it breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hoir_ray.config import config_paths, explain, nest
from hoir_ray.errors import SpecError
from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.conditions import STATIC_METRICS
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.tasks.contract import Task, TaskConfig

BITS_OF_A_WEIGHT = 32  # in a model pack, whose size `bits_per_pixel` is; a stored form has fewer


KNOWN_BEFORE = STATIC_METRICS | {"bits_per_pixel"}  # where the picture can be read; refused before it costs a trial


@dataclass(frozen=True)
class NetworkSize:
    """A point of the space and the number of parameters of its network."""

    point: dict[str, Scalar]
    num_parameters: int


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A point of the space as a trial: its config, its size, and why it is refused.

    Attributes:
        refusal: Why the config alone rules it out, such as a constraint; None for a point that may be tried.
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


def static_metrics(task: Task[Any], config: TaskConfig, *, names: frozenset[str]) -> dict[str, float]:
    """Compute the metrics among `names` that are known before training; `bits_per_pixel` only of a readable picture."""
    num_parameters = task.num_parameters(config)
    static: dict[str, float] = {"num_parameters": num_parameters}
    if "bits_per_pixel" in names and (num_pixels := task.num_pixels(config)) is not None:
        static["bits_per_pixel"] = BITS_OF_A_WEIGHT * num_parameters / num_pixels
    return static


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
