"""An example sweep: a space with conditions, and a formula for the quality of its points."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import TrialRecord
from hoir_ray.search.warm_start import WarmStartData
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.space import build_space
from hoir_ray.storage import Storage
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.sweep.planning.candidate import Candidate
from hoir_ray.tasks.contract import TaskConfig
from hoir_ray.testing.simulation import Simulation
from hoir_ray.training.config import TrainingConfig

MAX_EPOCHS = 9
CONFIG = TaskConfig(training=TrainingConfig(max_epochs=MAX_EPOCHS))
TEXT = """\
name: simulated
task: none
metric: {name: quality, goal: maximize}
parameters:
  network.layer_type: {values: [continuous, fourier]}
  network.num_nodes:
    - {when: {network.layer_type: continuous}, values: [2, 3, 4]}
    - {when: {network.layer_type: fourier}, min: 5, max: 31}
  network.hidden.width: {min: 4, max: 64}
  training.optimizer.lr: {min: 1.0e-4, max: 1.0e-1, distribution: log_uniform_values}
budget: {max_trials: 12}
"""


def quality(point: Mapping[str, Scalar], epoch: int) -> float:
    """Score a point: best near width 40 and a rate of 1e-2, rising with the epochs."""
    width, lr = float(point["network.hidden.width"] or 0), float(point["training.optimizer.lr"] or 0)
    return 30.0 - abs(width - 40) / 8 - abs(lr - 0.01) * 100 - 10.0 / (epoch + 1)


def build_driver(
    storage: Storage,
    text: str = TEXT,
    *,
    records: Iterable[TrialRecord] = (),
    refuse: Callable[[Mapping[str, Scalar]], str | None] = lambda point: None,
    clock: Callable[[], float] = lambda: 0.0,
    warm_start: WarmStartData | None = None,
) -> Driver:
    """Build the driver of a sweep over the example's space, with a size by its width and without the data of any task.

    Args:
        text: The sweep's YAML.
        refuse: Returns why a point is refused.
    """
    document = parse_document(text, name="s.yaml")
    spec = build_spec(document)

    def candidate(point: Mapping[str, Scalar]) -> Candidate:
        width = int(point["network.hidden.width"] or 0)
        return Candidate(config=CONFIG, num_parameters=width, refusal=refuse(point))

    return Driver(
        spec=spec,
        space=build_space(spec, TaskConfig, document),
        ledger=Ledger(storage),
        candidate=candidate,
        records=records,
        clock=clock,
        warm_start=warm_start,
    )


def example_row(record: TrialRecord, epoch: int) -> dict[str, float]:
    return {"epoch": float(epoch), "quality": quality(record.parameters, epoch)}


def run(driver: Driver, *, slots: int = 1, num_epochs: float = math.inf) -> None:
    """Run `slots` trials in turn, an epoch each, until there is nothing to do or `num_epochs` are trained."""
    Simulation(driver, row=example_row, slots=slots).run(num_epochs=num_epochs)
