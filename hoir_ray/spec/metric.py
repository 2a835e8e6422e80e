"""A metric as an objective: its name, and whether more or less of it is better."""

from __future__ import annotations

from typing import Literal

from hoir_ray.config import Config


class MetricSpec(Config):
    """A metric to search by, and whether more or less of it is better."""

    name: str
    goal: Literal["minimize", "maximize"] = "minimize"

    def loss(self, value: float) -> float:
        """Turn a value, NaN included, into one of which less is better; a loss into its value again."""
        return -value if self.goal == "maximize" else value

    def better(self, a: float, b: float) -> bool:
        """Return whether `a` is better than `b`; NaN is never, and nothing is better than NaN."""
        return self.loss(a) < self.loss(b)
