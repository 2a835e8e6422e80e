"""Sweeps measured against each other: the best of each, their fronts, how soon they got there, and what differs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hoir_ray import wording
from hoir_ray.config import flatten, shorten
from hoir_ray.errors import RequestError
from hoir_ray.results.front import axes_of, losses_of, pareto_front
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.ranking import ranked
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.spec.metric import MetricSpec

SHARES = (25, 50, 100)  # percent of a sweep's trials
_NO_SETTINGS = {"name", "storage", "provenance", "contents", "inputs", "parameters"}


@dataclass(frozen=True, kw_only=True)
class ComparedSweep:
    """One of the sweeps.

    Attributes:
        label: Its name, or what it was called by where two have the same name.
        sweep: The sweep; `best` and `front` are trials of it, by the metrics of the comparison.
        after: Percent of its trials, in the order of their numbers -> best value of the first metric by then.
        num_leading: Trials of its front that no trial of the other sweeps beats in every metric.
    """

    label: str
    sweep: SweepResults
    best: TrialRecord | None
    front: Sequence[TrialRecord]
    after: Mapping[int, float | None]
    num_leading: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Sweeps side by side.

    Attributes:
        metrics: By which all are measured: those of the first sweep, and the size of the network beside a single one.
        settings: Path in the spec -> its value in each sweep, None where it has none; only those that differ.
    """

    metrics: Sequence[MetricSpec]
    sweeps: Sequence[ComparedSweep]
    settings: Mapping[str, Sequence[Any]]

    @property
    def others(self) -> Sequence[ComparedSweep]:
        """Sweeps that were searched for something else than the metrics by which all are measured."""
        first = self.sweeps[0].sweep.spec.metrics
        return [s for s in self.sweeps if s.sweep.spec.metrics != first]

    def values(self, record: TrialRecord) -> dict[str, float]:
        """The metrics of the comparison at a trial's best epoch."""
        known = metrics_of(record)
        return {m.name: known[m.name] for m in self.metrics if m.name in known}

    def as_dict(self) -> dict[str, Any]:
        """The comparison as plain values, for JSON."""
        return {
            "metrics": [m.model_dump() for m in self.metrics],
            "sweeps": [
                {
                    "sweep": s.label,
                    "uri": s.sweep.storage.uri,
                    "task": s.sweep.spec.task,
                    "num_trials": len(s.sweep.records),
                    "best": self._row(s.best) if s.best else None,
                    "best_after_percent": {str(share): value for share, value in s.after.items()},
                    "front": [self._row(r) for r in s.front],
                    "num_leading": s.num_leading,
                }
                for s in self.sweeps
            ],
            "settings": {path: list(values) for path, values in self.settings.items()},
        }

    def _row(self, record: TrialRecord) -> dict[str, Any]:
        return {"trial": record.trial, "metrics": self.values(record), "parameters": record.parameters}


def compare_sweeps(sweeps: Mapping[str, SweepResults]) -> Comparison:
    """Compare sweeps by the metrics of the first one.

    Args:
        sweeps: What each is called -> the sweep.

    Raises:
        RequestError: If there are not at least two.
    """
    if len(sweeps) < 2:
        raise RequestError("a comparison takes two sweeps or more, each named once")
    metrics = axes_of(next(iter(sweeps.values())).spec)
    leaders = [ranked(s.records, spec=s.spec.model_copy(update={"metrics": metrics})) for s in sweeps.values()]
    fronts = [pareto_front(each, metrics=metrics) for each in leaders]
    joint = {losses_of(r, metrics=metrics) for r in pareto_front([r for f in fronts for r in f], metrics=metrics)}
    names = [s.spec.name for s in sweeps.values()]
    return Comparison(
        metrics=metrics,
        settings=_differing(list(sweeps.values())),
        sweeps=[
            ComparedSweep(
                label=called if names.count(sweep.spec.name) > 1 else sweep.spec.name,
                sweep=sweep,
                best=best[0] if best else None,
                front=front,
                after={share: _best_after(sweep, metrics[0], percent=share) for share in SHARES},
                num_leading=sum(losses_of(r, metrics=metrics) in joint for r in front),
            )
            for (called, sweep), best, front in zip(sweeps.items(), leaders, fronts, strict=True)
        ],
    )


def best_header(comparison: Comparison) -> tuple[str, ...]:
    """Headings of `best_row`."""
    metrics = [m.name for m in comparison.metrics]
    shares = [f"at {share} %" for share in SHARES]
    return "sweep", "trials", "best", *metrics, *shares, "front", "unbeaten"


def best_row(comparison: Comparison, each: ComparedSweep) -> tuple[str, ...]:
    """A sweep in words: its best trial, how soon its best was found, its front, and what of that leads."""
    values = comparison.values(each.best) if each.best else {}
    shown = [wording.number(values[m.name]) if m.name in values else "-" for m in comparison.metrics]
    soon = ["-" if v is None else wording.number(v) for v in each.after.values()]
    best = each.best.trial if each.best else "-"
    return each.label, str(len(each.sweep.records)), best, *shown, *soon, str(len(each.front)), str(each.num_leading)


def setting(value: Any) -> str:
    """A setting of a spec in a cell."""
    return "-" if value is None else value if isinstance(value, str) else shorten(value)


def front_header(comparison: Comparison) -> tuple[str, ...]:
    """Headings of `front_row`."""
    return "sweep", "trial", *(m.name for m in comparison.metrics), "settings"


def front_row(comparison: Comparison, each: ComparedSweep, record: TrialRecord) -> tuple[str, ...]:
    """A trial of a sweep's front in words."""
    values = comparison.values(record)
    shown = [wording.number(values[m.name]) if m.name in values else "-" for m in comparison.metrics]
    return each.label, record.trial, *shown, wording.settings(record.parameters)


def _best_after(sweep: SweepResults, metric: MetricSpec, *, percent: int) -> float | None:
    searched = [r for r in sweep.records if not r.is_replicate]
    first = searched[: math.ceil(len(searched) * percent / 100)]
    found = ranked(first, spec=sweep.spec.model_copy(update={"metrics": (metric,)}))
    return metrics_of(found[0])[metric.name] if found else None


def _differing(sweeps: Sequence[SweepResults]) -> dict[str, list[Any]]:
    tables = [_settings(sweep) for sweep in sweeps]
    paths = dict.fromkeys(path for table in tables for path in table)
    rows = {path: [table.get(path) for table in tables] for path in paths}
    return {path: row for path, row in rows.items() if len({json.dumps(v, sort_keys=True) for v in row}) > 1}


def _settings(sweep: SweepResults) -> dict[str, Any]:
    """The spec by dotted paths; a parameter has one case, or a list of them."""
    table = flatten(sweep.spec.model_dump(mode="json", exclude_none=True, exclude=_NO_SETTINGS))
    for path, cases in sweep.spec.parameters.items():
        written = [case.model_dump(mode="json", exclude_unset=True) for case in cases]
        table[f"parameters.{path}"] = written if len(written) > 1 else written[0]
    return table
