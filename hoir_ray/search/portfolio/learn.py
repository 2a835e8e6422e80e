"""Learning a portfolio from sweeps: the few configurations of which one or other leads wherever they are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from hoir_ray.errors import RequestError
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.search.gaussian_process.encoding import Encoding
from hoir_ray.search.gaussian_process.model import fit_model
from hoir_ray.search.portfolio.document import Band, Portfolio
from hoir_ray.search.portfolio.start import snapped
from hoir_ray.spec.conditions import STATIC_METRICS, parse_condition
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.space import Space

MIN_TRIALS = 5  # finished ones, from which a sweep can judge the configurations of others
MAX_MODELLED, MAX_CANDIDATES = 300, 60  # per sweep
SIZES = (3_000, 10_000, 30_000)
EPOCHS = "training.max_epochs"  # what a sweep spends, and nothing that it found
DIGITS = 3  # of a number in a portfolio, which is snapped to another space anyway


@dataclass(frozen=True)
class SourceSweep:
    """A sweep to learn from, with its space."""

    results: SweepResults
    space: Space


@dataclass(frozen=True)
class _Candidate:
    configuration: dict[str, Scalar]
    num_parameters: int
    sweep: int
    loss: float


def learn_portfolio(sweeps: Sequence[SourceSweep], *, count: int = 8) -> Portfolio:
    """A portfolio of `count` configurations for each size of network.

    A sweep judges configurations that it has not tried by a Gaussian process over those that it has, but no sizes that
    its constraints exclude. They are chosen greedily: each next one lowers most the mean over the sweeps of the rank of
    the best that is chosen.

    Raises:
        RequestError: If the sweeps are of several tasks or metrics, or have too few finished trials.

    Source: Wistuba et al. 2015, "Sequential Model-Free Hyperparameter Tuning".
    """
    specs = [s.results.spec for s in sweeps]
    for spec in specs[1:]:
        if spec.task != specs[0].task:
            raise RequestError(
                f"sweep '{spec.name}' is of task '{spec.task}', '{specs[0].name}' of '{specs[0].task}'; "
                "a portfolio is for one task"
            )
        if spec.metric != specs[0].metric:
            raise RequestError(
                f"sweep '{spec.name}' is led by {spec.metric.goal} {spec.metric.name}, '{specs[0].name}' by "
                f"{specs[0].metric.goal} {specs[0].metric.name}; a portfolio is for one metric"
            )
    judges = [_Judge(sweep, number=i) for i, sweep in enumerate(sweeps)]
    candidates = [c for judge in judges for c in judge.candidates]
    losses = np.column_stack([judge.losses(candidates) for judge in judges])
    bands = []
    for size in (None, *reversed(SIZES)):
        inside = [i for i, c in enumerate(candidates) if size is None or c.num_parameters <= size]
        if inside and (size is None or len(inside) < len(candidates)):
            judged = losses[inside]
            able = ~np.isnan(judged).any(0)
            judged = judged[:, able] if able.any() else np.nan_to_num(judged, nan=np.inf)
            chosen = chosen_greedily(judged, count=count)
            found = tuple(candidates[inside[i]].configuration for i in chosen)
            bands.append(Band(max_parameters=size, configurations=tuple(_distinct(found))))
    names = tuple(spec.name for spec in specs)
    return Portfolio(task=specs[0].task, metric=specs[0].metric.name, sources=names, bands=tuple(bands))


def chosen_greedily(losses: Float[np.ndarray, "n s"], *, count: int) -> list[int]:
    """Rows that between them come first: each next one lowers the mean over columns of the best rank most."""
    ranks = np.column_stack([rankdata(column) for column in losses.T])
    chosen: list[int] = []
    best = np.full(ranks.shape[1], np.inf)
    while len(chosen) < min(count, len(ranks)):
        means = np.minimum(ranks, best).mean(1)
        # Where none helps any more, the best of the others by their own mean rank.
        order = np.lexsort((ranks.mean(1), means))
        chosen.append(next(int(i) for i in order if i not in chosen))
        best = np.minimum(best, ranks[chosen[-1]])
    return chosen


class _Judge:
    """One sweep's opinion of configurations: measured where it has tried them, expected elsewhere."""

    def __init__(self, sweep: SourceSweep, *, number: int) -> None:
        spec, self._space, self._number = sweep.results.spec, sweep.space, number
        sign = -1.0 if spec.metric.goal == "maximize" else 1.0
        known = [r for r in sweep.results.records if r.state == "FINISHED" and r.replicate_of is None and r.best]
        self._records = [r for r in known if np.isfinite((r.best or {}).get(spec.metric.name, np.nan))]
        if len(self._records) < MIN_TRIALS:
            raise RequestError(
                f"sweep '{spec.name}' has {len(self._records)} finished trials; to learn from it takes {MIN_TRIALS}"
            )
        self._losses = [sign * (r.best or {})[spec.metric.name] for r in self._records]
        self.candidates = self._leaders()
        facts = [_facts(r) for r in self._records]
        self._encoding = Encoding(self._space, facts=facts)
        rows = [self._encoding.encode(r.parameters, facts=f) for r, f in zip(self._records, facts, strict=True)]
        every = max(1, len(rows) // MAX_MODELLED)
        inputs, losses = np.array(rows)[::every], np.array(self._losses)[::every]
        self._model = fit_model(inputs, losses, noise=np.zeros(len(losses)))
        conditions = [parse_condition(text) for text in spec.constraints]
        self._conditions = [c for c in conditions if c.names <= STATIC_METRICS]

    def _leaders(self) -> list[_Candidate]:
        """The best of every size."""
        order = np.argsort(self._losses, kind="stable")
        found: dict[int, None] = {}
        for size in (np.inf, *SIZES):
            inside = [int(i) for i in order if (self._records[i].num_parameters or 0) <= size]
            found.update(dict.fromkeys(inside[: MAX_CANDIDATES // (1 + len(SIZES))]))
        return [
            _Candidate(
                {k: _rounded(v) for k, v in self._records[i].parameters.items() if k != EPOCHS},
                self._records[i].num_parameters or 0,
                self._number,
                self._losses[i],
            )
            for i in found
        ]

    def losses(self, candidates: Sequence[_Candidate]) -> Float[np.ndarray, " n"]:
        """Compute each candidate's loss here; NaN for one that constraints exclude, the worst where the space does."""
        found = np.full(len(candidates), max(self._losses))
        points = [snapped(c.configuration, self._space) for c in candidates]
        asked = [i for i, p in enumerate(points) if not isinstance(p, str)]
        rows = [
            self._encoding.encode(p, facts={"num_parameters": float(candidates[i].num_parameters)})
            for i, p in enumerate(points)
            if not isinstance(p, str)
        ]
        found[asked] = self._model.predict(np.array(rows)).mean
        own = [i for i, c in enumerate(candidates) if c.sweep == self._number]
        found[own] = [candidates[i].loss for i in own]
        for i, candidate in enumerate(candidates):
            if not all(c.holds({"num_parameters": candidate.num_parameters}) for c in self._conditions):
                found[i] = np.nan
        return found


def _facts(record: TrialRecord) -> Mapping[str, float]:
    return {"num_parameters": float(record.num_parameters)} if record.num_parameters else {}


def _rounded(value: Scalar) -> Scalar:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _distinct(configurations: Sequence[dict[str, Scalar]]) -> list[dict[str, Scalar]]:
    return list({repr(sorted(c.items())): c for c in configurations}.values())
