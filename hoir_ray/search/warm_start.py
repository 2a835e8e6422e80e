"""Warm start from portfolios and earlier sweeps: points to try first, and results as evidence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hoir_ray.errors import RequestError, SpecError, StorageError
from hoir_ray.machine.files import to_json
from hoir_ray.results.management.contents import WARM_START
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.sweep_results import SweepResults, open_sweep
from hoir_ray.search.portfolio.document import load_portfolio, shipped_portfolio
from hoir_ray.search.portfolio.start import start_points, unknown_paths
from hoir_ray.spec.document import Document
from hoir_ray.spec.load import OLD_START
from hoir_ray.spec.parameters import Scalar
from hoir_ray.spec.schema import Start, SweepSpec
from hoir_ray.spec.space import Dimension, Space
from hoir_ray.storage import MissingObjectError, Storage

Refusal = Callable[[dict[str, Scalar]], str | None]


@dataclass(frozen=True)
class WarmStartData:
    """Points and results of an earlier sweep.

    Attributes:
        points: Values by path, of the earlier sweep's best trials; what is not in them is drawn as usual.
        observed: Ended trials of the earlier sweep: evidence for the sampler, not tried again.
        left_out: Trials and settings that do not fit, and why, one line each.
        sources: Names of what the points were taken from.
    """

    points: tuple[Mapping[str, Scalar], ...] = ()
    observed: tuple[TrialRecord, ...] = ()
    left_out: tuple[str, ...] = field(default=(), compare=False)
    sources: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """Sources and what is taken from them, in words."""
        evidence = f", {len(self.observed)} results as evidence" if self.observed else ""
        points = "1 point" if len(self.points) == 1 else f"{len(self.points)} points"
        return f"{points} of {', '.join(self.sources)} tried first{evidence}"


def load_warm_start(
    spec: SweepSpec,
    space: Space,
    *,
    own: Storage,
    refuse: Refusal = lambda point: None,
    has_begun: bool = False,
    document: Document | None = None,
) -> WarmStartData:
    """Read what the sweep starts from, or what was taken from it when it began.

    Args:
        refuse: Why a point cannot be tried, or None.
        has_begun: Whether the sweep has trials already; one that then has recorded nothing to start from began cold.

    Raises:
        SpecError: If there is no such portfolio or sweep, it is of another task, or it has no finished trial.
    """
    if not spec.starts:
        return WarmStartData()
    try:
        return _from_json(own.get(WARM_START))
    except MissingObjectError:
        pass
    return WarmStartData() if has_begun else gather_warm_start(spec, space, refuse=refuse, document=document)


def gather_warm_start(
    spec: SweepSpec, space: Space, *, refuse: Refusal = lambda point: None, document: Document | None = None
) -> WarmStartData:
    """Read everything that `start_from` names, as a sweep does when it begins.

    Raises:
        SpecError: If there is no such portfolio or sweep, it is of another task, or it has no finished trial.
    """
    found: list[WarmStartData] = []
    for number, start in enumerate(spec.starts):
        try:
            found.append(_points_of(start, spec, space, refuse=refuse))
        except RequestError as error:
            place = f" ({document.place(*_keys(document, number))})" if document else ""
            raise SpecError(f"start_from: {error}{place}") from None
    points = {repr(sorted(p.items())): p for data in found for p in data.points}
    return WarmStartData(
        points=tuple(points.values()),
        observed=tuple(record for data in found for record in data.observed),
        left_out=tuple(line for data in found for line in data.left_out),
        sources=tuple(name for data in found for name in data.sources),
    )


def _keys(document: Document, number: int) -> tuple[str, ...]:
    return ("start_from", str(number)) if ("start_from",) in document.lines else (OLD_START, "from")


def _points_of(start: Start, spec: SweepSpec, space: Space, *, refuse: Refusal) -> WarmStartData:
    if start.is_sweep:
        return warm_start_from(
            open_sweep(start.source, endpoint_url=spec.storage.endpoint_url), spec, space, start=start
        )
    portfolio = load_portfolio(Path(start.source)) if start.is_file else shipped_portfolio(spec.task)
    if portfolio is None:
        return WarmStartData()
    name = start.source if start.is_file else "the default portfolio"
    if portfolio.task != spec.task:
        line = f"{name} is a portfolio for task '{portfolio.task}', and this sweep is of '{spec.task}'"
        return WarmStartData(left_out=(line,))
    sizes = any(m.name == "num_parameters" for m in spec.metrics)
    found = start_points(portfolio, space, refuse=refuse, name=name, count=start.top_k, several_sizes=sizes)
    unknown = unknown_paths(portfolio, space) if start.is_file and found.points else ()
    lines = tuple(f"{name}: {path} is not searched here" for path in unknown)
    return WarmStartData(found.points, left_out=found.left_out + lines, sources=(name,) if found.points else ())


def save_warm_start(warm_start: WarmStartData, storage: Storage) -> None:
    """Keep warm-start data, so that a resumed sweep starts from the same, whatever became of the source."""
    if warm_start.points or warm_start.observed:
        observed = [r.model_dump(mode="json", exclude_none=True) for r in warm_start.observed]
        storage.put(
            WARM_START,
            to_json(
                {
                    "sources": list(warm_start.sources),
                    "points": [dict(p) for p in warm_start.points],
                    "observed": observed,
                }
            ),
            if_absent=True,
        )


def warm_start_from(source: SweepResults, spec: SweepSpec, space: Space, *, start: Start) -> WarmStartData:
    """The best points of `source` as far as they fit `space`, and its results as far as they can be compared."""
    if source.spec.task != spec.task:
        raise SpecError(
            f"sweep '{source.spec.name}' is of task '{source.spec.task}', this one of '{spec.task}'; "
            "only sweeps of one task can learn from each other"
        )
    leaders = (source.front() if len(source.spec.metrics) > 1 else source.leaderboard())[: start.top_k]
    if not leaders:
        raise SpecError(f"sweep '{source.spec.name}' has no finished trial to start from")
    points, left_out = [], dict[str, None]()
    for leader in leaders:
        point = {d.path: leader.parameters[d.path] for d in _fitting(leader, space)}
        left_out.update(dict.fromkeys(_misfits(leader, space, point)))
        if point:
            points.append(point)
    observed: list[TrialRecord] = []
    if start.mode == "observe":
        obstacles = list(_obstacles(source.spec, spec))
        left_out.update(dict.fromkeys(obstacles))
        observed = [] if obstacles else _comparable(source, space)
        others = sum(r.is_evidence for r in source.records) - len(observed)
        if others and not obstacles:
            left_out[f"{others} of its trials are no evidence here: their points lie outside this sweep's space"] = None
    return WarmStartData(tuple(points), tuple(observed), tuple(left_out), sources=(start.source,))


def _comparable(source: SweepResults, space: Space) -> list[TrialRecord]:
    """Trials whose points lie wholly inside the space."""
    candidates = [r for r in source.records if r.is_evidence]
    return [r for r in candidates if _is_whole(r, space)]


def _is_whole(record: TrialRecord, space: Space) -> bool:
    applying = {d.path for d in space.dimensions if d.applies(record.parameters)}
    return applying == set(record.parameters) == {d.path for d in _fitting(record, space)}


def _fitting(record: TrialRecord, space: Space) -> Iterator[Dimension]:
    """Dimensions that apply to the trial's point and have its value among their own."""
    for dimension in space.dimensions:
        given = dimension.path in record.parameters and dimension.applies(record.parameters)
        if given and dimension.holds(record.parameters[dimension.path]):
            yield dimension


def _misfits(record: TrialRecord, space: Space, point: Mapping[str, Scalar]) -> Iterator[str]:
    known = {d.path for d in space.dimensions}
    for path, value in record.parameters.items():
        if path not in known:
            yield f"{path} is not searched here"
        elif path not in point:
            yield f"{path}: {value} is not among the values searched here"


def _obstacles(before: SweepSpec, after: SweepSpec) -> Iterator[str]:
    """List the reasons why results of one sweep are no evidence for the other."""
    if before.data != after.data:
        yield "its results are no evidence here: it was about other data"
    if before.metrics != after.metrics:
        yield "its results are no evidence here: it was searched by other metrics"


def _from_json(content: bytes) -> WarmStartData:
    try:
        data = json.loads(content)
        observed = tuple(TrialRecord.model_validate(r) for r in data["observed"])
        return WarmStartData(tuple(data["points"]), observed, sources=tuple(data.get("sources", ())))
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{WARM_START}: cannot be read: {error}") from error
