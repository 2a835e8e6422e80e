"""Promotion: whether a trial that was stopped early is worth more, epoch by epoch, than a new point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hoir_ray.search.gaussian_process.beliefs import Asked, Beliefs
from hoir_ray.search.gaussian_process.outcomes import Trace
from hoir_ray.spec.metric import MetricSpec

HOPE = 1.28  # standard deviations by which an end may surprise: one in ten does so by more


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A stopped trial to be continued.

    Attributes:
        predicted: Its end by the first metric.
        deviation: Of that.
        best: Of the trials that finished.
    """

    trial: str
    predicted: float
    deviation: float
    best: float


def promotion(
    beliefs: Beliefs, asked: Asked, stopped: Mapping[str, Trace], *, metric: MetricSpec, max_epochs: float, rival: float
) -> Promotion | None:
    """The stopped trial of most worth for each epoch that is left to it, if that is more than a new point's.

    Args:
        asked: The points of `stopped`, in its order.
        max_epochs: Of a whole trial, which is what a new point costs.
        rival: Log acquisition of the best new point.
    """
    if not beliefs.has_leader or not max_epochs:
        return None
    left = np.array([max(1.0, max_epochs - float(t.epochs[-1])) for t in stopped.values()])
    worth = beliefs.worth(asked) + np.log(max_epochs / left)
    worth = np.where(beliefs.may_lead(asked, deviations=HOPE), worth, -math.inf)
    top = int(np.argmax(worth))
    if not worth[top] > rival:
        return None
    end, deviation, best = beliefs.end(asked, top)
    sign = -1.0 if metric.goal == "maximize" else 1.0
    return Promotion(trial=list(stopped)[top], predicted=sign * end, deviation=deviation, best=sign * best)
