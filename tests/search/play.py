"""Plays a searcher against a function: trials that end at once, in the order in which they were asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from hoir_ray.results.record import TrialRecord
from hoir_ray.search.searcher import Searcher
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.spec.space import Dimension

Point = Mapping[str, Scalar]
Value = Callable[[Point], Mapping[str, float]]


def number(path: str, low: float, high: float, **more) -> Dimension:
    return Dimension(name=path, path=path, low=low, high=high, **more)


def choice(path: str, *choices: Scalar, **more) -> Dimension:
    return Dimension(name=path, path=path, choices=choices, **more)


def spec_of(more: str = "metric: {name: loss}\n", *, seed: int = 0) -> SweepSpec:
    text = f"name: s\ntask: none\nparameters: {{a: {{value: 1}}}}\nbudget: {{max_trials: 1}}\nseed: {seed}\n"
    return build_spec(parse_document(text + more, name="s.yaml"))


def ended(trial: int, point: Point, row: Mapping[str, float], *, state: str = "FINISHED") -> TrialRecord:
    curve = ({"epoch": 1.0, **row},)
    fields = {"state": state, "curve": curve, "best": dict(curve[0]), "num_failures": int(state == "FAILED")}
    return TrialRecord(trial=f"t{trial:04d}", number=trial, parameters=dict(point)).change(**fields)


def allowed(point: Point) -> None:
    """Refuses nothing."""


def play(
    searcher: Searcher,
    value: Value,
    *,
    trials: int,
    running: int = 1,
    refuse: Callable[[dict[str, Scalar]], str | None] = allowed,
    past: list[TrialRecord] | None = None,
) -> list[TrialRecord]:
    """Ask for `trials` points, `running` of them open at a time; returns the records of all, by number."""
    records = list(past or [])
    open_ones: list[tuple[int, Point]] = []
    while len(records) < trials:
        while len(open_ones) < running and len(records) + len(open_ones) < trials:
            at = len(records) + len(open_ones) + 1
            point = searcher.ask(f"t{at:04d}", refuse=refuse)
            if point is None:
                break
            open_ones.append((at, point))
        if not open_ones:
            break
        at, point = open_ones.pop(0)
        row = value(point)
        state = "FAILED" if any(math.isnan(v) for v in row.values()) else "FINISHED"
        records.append(ended(at, point, row, state=state))
        searcher.tell(records[-1])
    return records


def best(records: list[TrialRecord], metric: str = "loss") -> float:
    return min(r.best[metric] for r in records if r.state == "FINISHED" and r.best)
