"""Asks a Gaussian process for points: the same interface as Optuna's samplers behind ours."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float

from hoir_ray.errors import WorkError
from hoir_ray.results.record import TrialRecord
from hoir_ray.search.gaussian_process.beliefs import Asked, Beliefs
from hoir_ray.search.gaussian_process.candidates import Candidate, Neighbourhood, Point, Pool, key_of, random_point
from hoir_ray.search.gaussian_process.encoding import Encoding
from hoir_ray.search.gaussian_process.evidence import (
    BEST_FIT_TRIALS,
    BEST_TRIALS,
    FIT_TRIALS,
    MODEL_TRIALS,
    KnownTrials,
)
from hoir_ray.search.gaussian_process.outcomes import quantities_of, trace_of
from hoir_ray.search.gaussian_process.promotion import Promotion, promotion
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.spec.space import Space

NUM_RANDOM = 8  # ended trials before the model is asked
FIRST_DRAWS, DRAWS_PER_POINT, MAX_DRAWS = 200, 20, 2_000
NUM_COMPARED = 200  # of the pool, for each question
NUM_LEADING, NUM_NEIGHBOURS = 5, 8
MAX_ROWS = 20_000
NEAREST = 0.02  # distance of encoded points, in which a parameter's range is 1
NUM_REFINED, NUM_REFINEMENTS = 3, 8
_log = logging.getLogger(__name__)

Refusal = Callable[[Point], str | None]
Facts = Callable[[Point], Mapping[str, float]]
Fallback = Callable[[Sequence[TrialRecord], Mapping[str, Point]], "Asking"]
Row = Float[np.ndarray, " d"]


class Asking(Protocol):
    """The part of a searcher that a fallback needs."""

    def ask(self, name: str, *, refuse: Refusal) -> Point | Promotion | None: ...


class GaussianProcessSearcher:
    """Searcher whose points follow from the sweep's seed, the ended and the running trials, and from nothing else.

    So a sweep that is resumed asks for the same points as one that was never interrupted.

    Args:
        records: Ended trials of the sweep so far.
        first: Values to begin with, one for each of the first trials; what is not among them is drawn.
        observed: Ended trials of an earlier sweep, as evidence.
        facts: What is known of a point without training it, such as `num_parameters`.
        fallback: (ended trials, running points) -> the searcher to ask where the model fails.
    """

    def __init__(
        self,
        spec: SweepSpec,
        space: Space,
        *,
        records: Sequence[TrialRecord] = (),
        first: Sequence[Mapping[str, Scalar]] = (),
        observed: Sequence[TrialRecord] = (),
        facts: Facts = lambda point: {},
        fallback: Fallback,
    ) -> None:
        self._spec, self._space, self._facts, self._fallback = spec, space, facts, fallback
        self._first = first
        self._open: dict[str, Point] = {}
        self._seen: set[str] = set()
        self._ended: list[TrialRecord] = []
        self._num_metrics = len(spec.metrics)
        self._known = KnownTrials()
        self._names: dict[int, str] = {}
        self._waiting: list[tuple[int, TrialRecord]] = [(-1 - i, r) for i, r in enumerate(observed)]
        self._pool: Pool | None = None
        self._rows: dict[str, tuple[Row, Row]] = {}
        self._beliefs: tuple[tuple[int, ...], Beliefs] | None = None
        self._said = False
        for record in records:
            self._take(record)

    # -- what is known --------------------------------------------------------------------------------------------

    def rename(self, name: str, *, to: str) -> None:
        """Give the point of an open trial to another one, whose number is free."""
        if name in self._open:
            self._open[to] = self._open.pop(name)

    def reopen(self, record: TrialRecord) -> None:
        """Take up an interrupted or promoted trial again, as a running one with its own point."""
        if record.number in self._names:
            self._forget(record)
        self._opened(record.trial, dict(record.parameters))

    def tell(self, record: TrialRecord) -> None:
        """Take in how a trial ended."""
        if self._open.pop(record.trial, None) is not None:
            self._take(record)

    def _take(self, record: TrialRecord) -> None:
        self._seen.add(key_of(record.parameters))
        if record.replicate_of is None:
            self._ended.append(record)
            self._names[record.number] = record.trial
            self._waiting.append((record.number, record))

    def _forget(self, record: TrialRecord) -> None:
        del self._names[record.number]
        self._ended = [r for r in self._ended if r.number != record.number]
        self._waiting = [(number, r) for number, r in self._waiting if number != record.number]
        if record.number in self._known.traces:
            self._known.remove(record.number)
        self._beliefs = None  # it may come back before the next question, and the numbers be the same

    def _learn(self) -> None:
        """Read the trials that ended since the last question."""
        for number, record in self._waiting:
            facts, leading = self._facts(record.parameters), self._spec.epoch_metric
            trace = trace_of(record, quantities=self._quantities, leading=leading, facts=facts)
            if trace is not None:
                self._known.add(number, point=record.parameters, trace=trace, num_metrics=self._num_metrics)
        self._waiting.clear()

    # -- what to try ----------------------------------------------------------------------------------------------

    def ask(self, name: str, *, refuse: Refusal, promotable: Collection[str] = ()) -> Point | Promotion | None:
        """The next point for the trial `name`, or None when every point has been tried.

        Args:
            promotable: Stopped trials that are continued instead where that is worth more for each epoch.

        Raises:
            WorkError: If no point could be found that is not refused.
        """
        turn = len(self._ended) + len(self._open)
        if self._pool is None:
            self._prepare(refuse)
        generator = np.random.default_rng([self._spec.seed, turn])
        self._learn()
        point = self._given(turn, generator, refuse)
        if point is None and len(self._known) >= NUM_RANDOM:
            found = self._modelled(name, turn, generator, refuse, promotable)
            if isinstance(found, Promotion):
                return found
            point = found
        if point is None:
            point = self._drawn(refuse)
        return None if point is None else self._opened(name, point)

    def _prepare(self, refuse: Refusal) -> None:
        self._pool = Pool(self._space, refuse=refuse, seed=self._spec.seed)
        facts = [self._facts(c.point) for c in self._pool.upto(FIRST_DRAWS)]
        self._encoding = Encoding(self._space, facts=facts)
        self._neighbourhood = Neighbourhood(self._space)
        names = frozenset().union(*facts)
        self._quantities = quantities_of(self._spec, known=names)

    def _given(self, turn: int, generator: np.random.Generator, refuse: Refusal) -> Point | None:
        if turn >= len(self._first):
            return None
        point = random_point(self._space, generator, given=self._first[turn])
        return point if key_of(point) not in self._seen and refuse(point) is None else None

    def _drawn(self, refuse: Refusal) -> Point | None:
        """The first point of the pool that nobody tried."""
        assert self._pool is not None
        for draws in (FIRST_DRAWS, MAX_DRAWS, MAX_DRAWS + len(self._seen) + MAX_DRAWS):
            for candidate in self._pool.upto(draws):
                if candidate.key not in self._seen:
                    return candidate.point
        if not self._seen and self._pool.last_refusal:
            raise WorkError(
                f"no point in {self._pool.num_draws:,} draws meets the constraints; the last: {self._pool.last_refusal}"
            )
        return None

    def _modelled(
        self, name: str, turn: int, generator: np.random.Generator, refuse: Refusal, promotable: Collection[str]
    ) -> Point | Promotion | None:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                return self._best(turn, generator, refuse, promotable)
        except (np.linalg.LinAlgError, ValueError, FloatingPointError, OverflowError) as error:
            if not self._said:
                _log.warning("the model of %d trials failed (%s); TPE asks for points instead", len(self._known), error)
                self._said = True
            point = self._fallback(self._ended, self._open).ask(name, refuse=refuse)
            return None if point is None or isinstance(point, Promotion) else dict(point)

    def _best(
        self, turn: int, generator: np.random.Generator, refuse: Refusal, promotable: Collection[str]
    ) -> Point | Promotion | None:
        """The point of most worth among some of the pool and neighbours of the leaders, and then near those points."""
        beliefs, leaders = self._believe()
        running = self._asked([Candidate(key_of(p), p) for p in self._open.values()]).inputs
        beliefs = beliefs.believing(running)

        def worth(candidates: Sequence[Candidate]) -> Row:
            asked = self._asked(candidates)
            return np.where(_is_near(asked.inputs, running), -np.inf, beliefs.worth(asked))

        compared = self._compared(turn, generator)
        if leaders:
            near = generator.choice(len(leaders), min(len(leaders), NUM_LEADING), replace=False)
            compared += self._neighbours([leaders[i] for i in near], NUM_NEIGHBOURS, generator, refuse)
        if not compared:
            return None
        values = worth(compared)
        if np.isnan(values).any():
            raise ValueError("the worth of a point is not a number")
        order = np.argsort(-values, kind="stable")
        best, value = compared[order[0]].point, float(values[order[0]])
        centres = [compared[i].point for i in order[:NUM_REFINED]]
        if finer := self._neighbours(centres, NUM_REFINEMENTS, generator, refuse):
            values = worth(finer)
            top = int(np.argmax(values))
            best, value = (finer[top].point, float(values[top])) if values[top] > value else (best, value)
        return self._promotion(beliefs, promotable, rival=value) or best

    def _promotion(self, beliefs: Beliefs, promotable: Collection[str], *, rival: float) -> Promotion | None:
        """A stopped trial that is worth more for each epoch than a new point of the log acquisition `rival`."""
        assert self._beliefs is not None
        # A stopped trial has no value of a metric that is measured at the end.
        traces = {n: t for n, t in self._known.traces.items() if len(t.epochs)}
        numbers = [n for n in self._beliefs[0] if n in traces and self._names.get(n) in promotable]
        stopped = {self._names[n]: traces[n] for n in numbers}
        if not stopped:
            return None
        points = [dict(self._known.points[n]) for n in numbers]
        asked = self._asked([Candidate(key_of(p), p) for p in points])
        whole = max((float(t.epochs[-1]) for t in traces.values() if t.state == "finished"), default=0.0)
        return promotion(beliefs, asked, stopped, metric=self._spec.metric, max_epochs=whole, rival=rival)

    def _believe(self) -> tuple[Beliefs, list[Mapping[str, Scalar]]]:
        chosen = self._known.chosen(count=MODEL_TRIALS, best=BEST_TRIALS)
        if self._beliefs is None or self._beliefs[0] != chosen:
            few = self._known.chosen(count=FIT_TRIALS, best=BEST_FIT_TRIALS)
            fit_on = np.flatnonzero(np.isin(chosen, few))
            points = [self._known.points[n] for n in chosen]
            inputs = self._asked([Candidate(key_of(p), dict(p)) for p in points]).inputs
            traces = [self._known.traces[n] for n in chosen]
            self._beliefs = chosen, Beliefs(traces, inputs, quantities=self._quantities, fit_on=fit_on)
        beliefs = self._beliefs[1]
        return beliefs, [self._known.points[chosen[i]] for i in beliefs.leading(NUM_LEADING)]

    def _compared(self, turn: int, generator: np.random.Generator) -> list[Candidate]:
        assert self._pool is not None
        pool = self._pool.upto(min(MAX_DRAWS, FIRST_DRAWS + DRAWS_PER_POINT * turn))
        fresh = [c for c in pool if c.key not in self._seen]
        if len(fresh) <= NUM_COMPARED:
            return fresh
        return [fresh[i] for i in generator.choice(len(fresh), NUM_COMPARED, replace=False)]

    def _neighbours(
        self, centres: Sequence[Mapping[str, Scalar]], count: int, generator: np.random.Generator, refuse: Refusal
    ) -> list[Candidate]:
        found: dict[str, Point] = {}
        for centre in centres:
            for _ in range(count):
                point = self._neighbourhood.near(centre, generator)
                key = key_of(point)
                if key not in found and key not in self._seen and refuse(point) is None:
                    found[key] = point
        return [Candidate(key, point) for key, point in found.items()]

    def _asked(self, candidates: Sequence[Candidate]) -> Asked:
        """Encoded, with the losses that are known; both kept, as most candidates are asked about again."""
        if len(self._rows) > MAX_ROWS:
            self._rows.clear()
        for candidate in candidates:
            if candidate.key not in self._rows:
                facts = self._facts(candidate.point)
                exact = np.array([q.read(facts) for q in self._quantities[: self._num_metrics]])
                self._rows[candidate.key] = self._encoding.encode(candidate.point, facts=facts), exact
        rows = [self._rows[c.key] for c in candidates]
        inputs = np.array([row for row, _ in rows]).reshape(len(rows), self._encoding.num_columns)
        return Asked(inputs, np.array([exact for _, exact in rows]).reshape(len(rows), self._num_metrics))

    def _opened(self, name: str, point: Point) -> Point:
        self._open[name] = point
        self._seen.add(key_of(point))
        return point


def _is_near(points: Float[np.ndarray, "m d"], running: Float[np.ndarray, "p d"]) -> np.ndarray:
    """Points (m,) so close to one that runs that the two would tell the same."""
    squares = (points**2).sum(1)[:, None] + (running**2).sum(1) - 2 * points @ running.T
    return (squares < NEAREST**2).any(1)
