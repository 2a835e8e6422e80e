"""TPE for a conditional space: samples active parameters only, and caches each trial's representation."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe.sampler import default_gamma
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hoir_ray.search.evidence import as_params
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.space import Dimension, Space

MAX_CASES = 2_000
KNOWN = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


class ConditionalTPE(optuna.samplers.TPESampler):
    """Draws jointly what applies together, and nothing of cases that do not apply to the point at hand.

    Optuna's own finds the groups of parameters that occur together in all trials anew for each point, and then draws
    from every group, whether it applies or not. It also reads all trials anew for each group of each point, which with
    hundreds of them is most of what a point costs; here each trial is read once. The points are Optuna's.
    """

    def __init__(self, space: Space, *, seed: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(multivariate=True, group=True, constant_liar=True, seed=seed)
        self._space, self._cases = space, optuna.create_study()
        for point in one_point_per_case(space):
            params, drawn_from = as_params(point, space=space)
            self._cases.add_trial(optuna.trial.create_trial(value=0.0, params=params, distributions=drawn_from))
        self._drawn_from: dict[str, BaseDistribution] | None = None
        self._columns = {d.name: i for i, d in enumerate(space.dimensions)}
        self._known_of: optuna.Study | None = None
        self._places: dict[int, tuple[float, ...]] = {}
        self._rows: dict[int, int] = {}
        self._table = self._empty()
        self._halves: tuple[list[FrozenTrial], list[FrozenTrial]] | None = None  # of the point being drawn

    def _empty(self) -> np.ndarray:
        return np.full((512, len(self._columns)), math.nan)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if self._drawn_from is None:
            self._drawn_from = super().infer_relative_search_space(self._cases, trial)
        return self._drawn_from

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if study is not self._known_of:
            self._known_of, self._places, self._rows, self._table = study, {}, {}, self._empty()
        self._halves = None
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

    def _sample(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if len(study.directions) > 1:
            return super()._sample(study, trial, search_space)
        below, above = self._split(study, trial)
        good = self._build_parzen_estimator(study, search_space, below, handle_below=True)
        others = self._build_parzen_estimator(study, search_space, above, handle_below=False)
        candidates = good.sample(self._rng.rng, self._n_ei_candidates)
        chosen = self._compare(candidates, self._compute_acquisition_func(candidates, good, others))
        return {name: drawn_from.to_external_repr(chosen[name]) for name, drawn_from in search_space.items()}

    def _split(self, study: optuna.Study, trial: FrozenTrial) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """TPE's good trials and all others, those that run among them, each by number."""
        if self._halves is None:
            trials = [t for t in study._get_trials(deepcopy=False, states=KNOWN) if t._trial_id != trial._trial_id]
            ended = [t for t in trials if t.state != TrialState.RUNNING]
            for one in ended:
                if one._trial_id not in self._places:
                    self._places[one._trial_id] = place(one, study.direction)
            below = sorted(ended, key=lambda t: self._places[t._trial_id])[: default_gamma(len(ended))]
            good = {t._trial_id for t in below}
            self._halves = sorted(below, key=lambda t: t.number), [t for t in trials if t._trial_id not in good]
        return self._halves

    def _get_internal_repr(
        self, trials: Sequence[FrozenTrial], search_space: dict[str, BaseDistribution], study: optuna.Study
    ) -> dict[str, np.ndarray]:
        """Represent the trials that have all of the search space by Optuna's numbers for their values."""
        rows = [row if (row := self._rows.get(t._trial_id)) is not None else self._read(t) for t in trials]
        values = self._table[rows][:, [self._columns[name] for name in search_space]]
        values = values[~np.isnan(values).any(axis=1)]
        return {name: values[:, i] for i, name in enumerate(search_space)}

    def _read(self, trial: FrozenTrial) -> int:
        """Convert a trial once: a running one has all its values before the next point is drawn."""
        row = self._rows[trial._trial_id] = len(self._rows)
        if row == len(self._table):
            self._table = np.concatenate([self._table, np.full_like(self._table, math.nan)])
        for name, drawn_from in trial.distributions.items():
            self._table[row, self._columns[name]] = drawn_from.to_internal_repr(trial.params[name])
        return row


def place(trial: FrozenTrial, direction: StudyDirection) -> tuple[float, ...]:
    """Sort key of TPE: finished trials by value, stopped ones that came furthest, those that break constraints."""
    sign = 1 if direction == StudyDirection.MINIMIZE else -1
    if (violation := sum(v for v in trial.constraints.values() if v > 0)) > 0:
        return (2, violation)
    if trial.state == TrialState.COMPLETE:
        assert trial.value is not None
        return (0, sign * trial.value)
    if not trial.intermediate_values:
        return (1, 1, 0.0)
    step, value = max(trial.intermediate_values.items())
    return (1, -step, math.inf if math.isnan(value) else sign * value)


def one_point_per_case(space: Space) -> list[Mapping[str, Scalar]]:
    """Points that between them have every set of parameters that can occur together."""

    def few(dimension: Dimension) -> list[Scalar]:
        if dimension.path not in space.parents:
            return dimension.corners()[:1]
        return [value for value, _ in space.told_apart(dimension)]

    points = itertools.islice(space.points(few), MAX_CASES)
    return list({frozenset(d.name for d in space.dimensions_of(p)): p for p in points}.values())
