"""Optuna's samplers over our space: TPE, NSGA-II, points at random and grids."""

from __future__ import annotations

import random
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial

import optuna
from optuna.trial import TrialState

from hoir_ray.errors import WorkError
from hoir_ray.results.record import TrialRecord
from hoir_ray.search.evidence import (
    as_params,
    distribution,
    final_values,
    intermediate_values,
    past_trial,
    representative_subset,
    violations,
)
from hoir_ray.search.tpe import ConditionalTPE
from hoir_ray.search.warm_start import WarmStartData
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.spec.space import Dimension, Space

MAX_SAMPLED_DRAWS = 30
MAX_RANDOM_DRAWS = 2_000
# Samplers whose questions cost more with each trial that they know.
BOUNDED = frozenset(("tpe",))
KEPT_EVIDENCE, MAX_EVIDENCE = 250, 400

Point = dict[str, Scalar]
Refusal = Callable[[Point], str | None]


class OptunaSearcher:
    """Asks Optuna for points and tells it how their trials ended.

    A stopped trial is told as PRUNED with its curve, so that the sampler learns from it and never takes its truncated
    score for a final one; a failed one as FAIL.
    """

    def __init__(
        self,
        spec: SweepSpec,
        space: Space,
        *,
        records: Sequence[TrialRecord] = (),
        warm_start: WarmStartData = WarmStartData(),  # noqa: B008  # frozen
    ) -> None:
        self._spec, self._space = spec, space
        self._random = random.Random(spec.seed * 1_000_003 + len(records))
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # it would write a line for each trial
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._sampler = _sampler(spec, space, seed=(spec.seed + len(records)) % 2**32)
        self._open: dict[str, tuple[optuna.Trial, Point]] = {}
        self._seen = {_key(r.parameters) for r in records}
        self._grid: Iterator[Point] | None = space.points(Dimension.grid) if spec.method == "grid" else None
        self._first = deque(warm_start.points)
        self._told = [*warm_start.observed, *(r for r in records if r.is_evidence)]
        self._study = self._new_study()

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """Optuna's view, without the draws that were refused before they became trials."""
        return [t for t in self._study.get_trials(deepcopy=False) if not t.user_attrs.get("refused")]

    def _new_study(self) -> optuna.Study:
        """Build a study of the sampler's evidence, without the trials that are open."""
        study = optuna.create_study(directions=[m.goal for m in self._spec.metrics], sampler=self._sampler)
        evidence = self._told
        if self._spec.method in BOUNDED and len(evidence) > MAX_EVIDENCE:
            evidence = representative_subset(evidence, spec=self._spec, count=KEPT_EVIDENCE)
        self._num_known = len(evidence)
        for record in evidence:
            study.add_trial(past_trial(record, spec=self._spec, space=self._space))
        return study

    def ask(self, name: str, *, refuse: Refusal, promotable: Collection[str] = ()) -> Point | None:
        """The next point for the trial `name`, or None when every point has been tried.

        Args:
            refuse: Why a point cannot be tried, such as a constraint that it breaks; None if it can.
            promotable: Never chosen from: these samplers say nothing of a stopped trial's end.

        Raises:
            WorkError: If no point could be found that is not refused.
        """
        if self._grid is not None:
            for point in self._grid:
                if _key(point) not in self._seen and refuse(point) is None:
                    return self._opened(name, self._placed(point), point)
            return None
        if self._spec.method in BOUNDED and self._num_known > MAX_EVIDENCE:
            self._study = self._new_study()
            self._open = {n: (self._placed(point), point) for n, (_, point) in self._open.items()}
        for _ in range(MAX_SAMPLED_DRAWS + len(self._first)):
            if self._first:
                warm_start = self._first.popleft()
                self._study.enqueue_trial(as_params(warm_start, space=self._space)[0])
            optuna_trial = self._study.ask()
            point = self._space.draw(partial(_suggest, optuna_trial))
            if _key(point) not in self._seen and refuse(point) is None:
                return self._opened(name, optuna_trial, point)
            self._num_known += 1
            optuna_trial.set_user_attr("refused", True)
            self._study.tell(optuna_trial, state=TrialState.FAIL)
        return self._ask_at_random(name, refuse=refuse)

    def _ask_at_random(self, name: str, *, refuse: Refusal) -> Point | None:
        last, fresh = "", False
        for _ in range(MAX_RANDOM_DRAWS):
            point = self._space.draw(self._draw)
            if _key(point) in self._seen:
                continue
            fresh = True
            last = refuse(point) or ""
            if not last:
                return self._opened(name, self._placed(point), point)
        if fresh:
            raise WorkError(f"no point in {MAX_RANDOM_DRAWS} draws meets the constraints; the last: {last}")
        return None

    def rename(self, name: str, *, to: str) -> None:
        """Give the point of an open trial to another one, whose number is free."""
        if name in self._open:
            self._open[to] = self._open.pop(name)

    def reopen(self, record: TrialRecord) -> None:
        """Take up an interrupted trial again, as a running one with its own point."""
        if record.trial not in self._open:
            self._opened(record.trial, self._placed(record.parameters), dict(record.parameters))

    def tell(self, record: TrialRecord) -> None:
        """Add an ended trial to the evidence."""
        optuna_trial, _ = self._open.pop(record.trial, (None, None))
        if optuna_trial is None:
            return
        if record.is_evidence:
            self._told.append(record)
            self._num_known += 1
        for epoch, value in intermediate_values(record, self._spec).items():
            optuna_trial.report(value, step=epoch)
        values = final_values(record, self._spec.metrics)
        if record.state == "FINISHED" and values is not None:
            for name, violation in violations(record, self._spec).items():
                optuna_trial.set_constraint(name, violation)
            self._study.tell(optuna_trial, values)
        elif record.state == "PRUNED":
            self._study.tell(optuna_trial, state=TrialState.PRUNED)
        else:
            self._study.tell(optuna_trial, state=TrialState.FAIL)

    def _opened(self, name: str, optuna_trial: optuna.Trial, point: Point) -> Point:
        if isinstance(self._sampler, ConditionalTPE):
            # The parameters of other cases that were drawn along; others that run are now read as what they are.
            self._study._storage.set_trial_system_attr(optuna_trial._trial_id, "tpe:relative_params:0", "")
        self._open[name] = optuna_trial, point
        self._seen.add(_key(point))
        return point

    def _placed(self, point: Mapping[str, Scalar]) -> optuna.Trial:
        """A running trial of this point, without asking the sampler."""
        params, drawn_from = as_params(point, space=self._space)
        running = optuna.trial.create_trial(state=TrialState.RUNNING, params=params, distributions=drawn_from)
        return optuna.Trial(self._study, self._study._storage.create_new_trial(self._study._study_id, running))

    def _draw(self, dimension: Dimension) -> Scalar:
        if dimension.choices is not None:
            return self._random.choice(dimension.choices)
        drawn_from = distribution(dimension)
        sampler = optuna.samplers.RandomSampler(seed=self._random.getrandbits(32))
        return sampler.sample_independent(self._study, _PLACEHOLDER, dimension.name, drawn_from)


_PLACEHOLDER = optuna.trial.create_trial(state=TrialState.RUNNING, params={}, distributions={})


def _sampler(spec: SweepSpec, space: Space, *, seed: int) -> optuna.samplers.BaseSampler:
    match spec.method:
        case "tpe":
            return ConditionalTPE(space, seed=seed)
        case "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed)
        case _:
            return optuna.samplers.RandomSampler(seed=seed)


def _suggest(optuna_trial: optuna.Trial, dimension: Dimension) -> Scalar:
    return optuna_trial._suggest(dimension.name, distribution(dimension))


def _key(point: Mapping[str, Scalar]) -> str:
    return repr(sorted(point.items()))
