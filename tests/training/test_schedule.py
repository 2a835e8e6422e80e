from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from hoir_ray.training.config import SchedulerConfig
from hoir_ray.training.optimizers.schedule import Schedule


def schedule(**config: object) -> Schedule:
    return Schedule(TypeAdapter[SchedulerConfig](SchedulerConfig).validate_python(config), max_epochs=10)


def test_cosine_falls_from_one_to_its_final_fraction() -> None:
    cosine = schedule(name="cosine", final_fraction=0.1)
    assert cosine.factor(0) == 1
    assert cosine.factor(5) == pytest.approx(0.55)
    assert cosine.factor(10) == pytest.approx(0.1)


def test_exponential_falls_after_every_epoch() -> None:
    exponential = schedule(name="exponential", gamma=0.5)
    assert [exponential.factor(e) for e in (0, 0.99, 1, 3.5)] == [1, 1, 0.5, 0.125]


def test_none_stays() -> None:
    assert schedule(name="none").factor(7.3) == 1


def test_plateau_falls_after_patience_epochs_without_a_lower_loss() -> None:
    plateau = schedule(name="plateau", patience=1, factor=0.5)
    factors = []
    for loss in (3.0, 2.0, 2.0, 2.5, 2.0, 2.0, 1.0):
        plateau.end_epoch(loss)
        factors.append(plateau.factor(0))
    assert factors == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]
