"""Optuna's TPE, told which parameters our space has and which of its cases a point is about."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution

from hoir_ray.spec import Scalar
from hoir_ray.sweep.evidence import distribution
from hoir_ray.sweep.space import Dimension, Space

MAX_CASES = 2_000


class ConditionalTPE(optuna.samplers.TPESampler):
    """Draws jointly what applies together, and nothing of cases that do not apply to the point at hand.

    Optuna's own finds the groups of parameters that occur together in all trials anew for each point, and then draws
    from every group, whether it applies or not.
    """

    def __init__(self, space: Space, *, seed: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(multivariate=True, group=True, constant_liar=True, seed=seed)
        self._space, self._cases = space, optuna.create_study()
        for point in one_point_per_case(space):
            drawn_from = {d.name: distribution(d) for d in space.dimensions_of(point)}
            params = {d.name: point[d.path] for d in space.dimensions_of(point)}
            self._cases.add_trial(optuna.trial.create_trial(value=0.0, params=params, distributions=drawn_from))

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(self._cases, trial)

    def sample_relative(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        drawn: dict[str, Any] = {}
        tried: set[str] = set()

        def draw(dimension: Dimension) -> Scalar:
            if dimension.name not in tried:
                group = {d.name for d in self._space.dimensions if d.when == dimension.when}
                tried.update(group)
                some = {name: search_space[name] for name in group & search_space.keys()}
                drawn.update(super(ConditionalTPE, self).sample_relative(study, trial, some) if some else {})
            value: Scalar = drawn.get(dimension.name, dimension.corners()[0])
            return value

        self._space.draw(draw)
        return drawn


def one_point_per_case(space: Space) -> list[Mapping[str, Scalar]]:
    """Points that between them have every set of parameters that can occur together."""

    def few(dimension: Dimension) -> list[Scalar]:
        return dimension.grid() if dimension.path in space.parents else dimension.corners()[:1]

    points = itertools.islice(space.points(few), MAX_CASES)
    return list({frozenset(d.name for d in space.dimensions_of(p)): p for p in points}.values())
