"""Runs a driver's trials without Ray: curves are computed from the point, everything else is the real thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import TrialRecord
from hoir_ray.search.warm_start import WarmStartData
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.space import build_space
from hoir_ray.storage import Storage
from hoir_ray.sweep.driver import Driver
from hoir_ray.sweep.plan import Candidate
from hoir_ray.tasks.contract import TaskConfig
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
    """Best near width 40 and a rate of 1e-2; rises with the epochs."""
    width, lr = float(point["network.hidden.width"] or 0), float(point["training.optimizer.lr"] or 0)
    return 30.0 - abs(width - 40) / 8 - abs(lr - 0.01) * 100 - 10.0 / (epoch + 1)


def driver_of(
    storage: Storage,
    text: str = TEXT,
    *,
    records: list[TrialRecord] | None = None,
    refuse: Callable[[dict[str, Scalar]], str | None] = lambda point: None,
    clock: Callable[[], float] = lambda: 0.0,
    warm_start: WarmStartData | None = None,
) -> Driver:
    document = parse_document(text, name="s.yaml")
    spec = build_spec(document)
    return Driver(
        spec=spec,
        space=build_space(spec, TaskConfig, document),
        ledger=Ledger(storage),
        candidate=lambda point: Candidate(
            config=CONFIG, num_parameters=int(point["network.hidden.width"] or 0), refusal=refuse(dict(point))
        ),
        records=records or [],
        clock=clock,
        warm_start=warm_start or WarmStartData(),
    )


def run(driver: Driver, *, slots: int = 1, steps: int = 100_000) -> None:
    """Step `slots` trials in turn, an epoch each, until the driver is finished or `steps` are used up."""
    active: list[str] = []
    for _ in range(steps):
        while len(active) < slots and (record := driver.next()) is not None:
            driver.started(record.trial)
            active.append(record.trial)
        if not active:
            assert driver.finished or driver.stop_reason is None
            return
        name = active.pop(0)
        record = driver.records[name]
        epoch = record.epochs + 1
        stop = driver.reported(name, {"epoch": float(epoch), "quality": quality(record.parameters, epoch)})
        if stop is None and epoch == MAX_EPOCHS:
            driver.succeeded(name, reason="trained to the end", model=f"models/{name}")
        elif stop is None:
            active.append(name)
