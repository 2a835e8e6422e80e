"""The contract of early stopping: pure rules over curves, so that resume and simulation replay them exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from hoir_ray.spec.metric import MetricSpec

Row = Mapping[str, float]


class StoppingRule(Protocol):
    def decide(self, trial: str, *, epoch: int, value: float, row: Row | None = None) -> str | None:
        """Return the reason to stop the trial now, or None. Every value given is remembered.

        Args:
            value: Of the first metric.
            row: All metrics of the epoch, for a rule that looks at several.
        """

    def finished(self, trial: str, *, row: Row | None = None) -> None:
        """Take in that the trial trained to its own end.

        Args:
            row: All metrics of its best epoch, those of the stored form among them.
        """


class CurvesOnly:
    """A rule that compares trials epoch by epoch, whichever of them finish."""

    def finished(self, trial: str, *, row: Row | None = None) -> None:
        pass


class NeverStop(CurvesOnly):
    """Rule that stops no trial."""

    def decide(self, trial: str, *, epoch: int, value: float, row: Row | None = None) -> str | None:
        return None


def loss_of(value: float, metric: MetricSpec) -> float:
    """Less is better; NaN, as for a metric that is missing, is the worst there is."""
    return math.inf if value != value else metric.loss(value)
