"""Several sweeps beside each other: what differs in what was asked, and what each found after how many trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hoir_ray.config import flatten
from hoir_ray.errors import RequestError
from hoir_ray.results.front import pareto_front
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.ranking import broken_constraint
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.spec.metric import MetricSpec

SHARES = (0.25, 0.5, 1.0)  # of a sweep's trials
_OF_ITSELF = ("name", "storage", "provenance", "trackers", "resources")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One of the sweeps that are compared.

    Attributes:
        after: The best value of the metric among the first quarter, half and all of its trials; None where none of
            them has finished within the constraints.
        front: How many of its trials no other trial of any of the sweeps beats in every metric.
    """

    label: str
    sweep: SweepResults
    best: TrialRecord | None
    after: tuple[float | None, ...]
    front: int

    def as_dict(self, metrics: Sequence[MetricSpec]) -> dict[str, Any]:
        """The sweep as plain values, for JSON."""
        known = metrics_of(self.best) if self.best else {}
        return {
            "sweep": self.label,
            "trials": len(self.sweep.records),
            "best_trial": self.best.trial if self.best else None,
            **{m.name: known.get(m.name) for m in metrics},
            "after": dict(zip(map(str, SHARES), self.after, strict=True)),
            "on_the_front": self.front,
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Sweeps beside each other.

    Attributes:
        metrics: What they are compared by: those of the first one that all of them know.
        settings: Dotted path -> its value in each of the sweeps, where they are not all the same.
    """

    metrics: tuple[MetricSpec, ...]
    sweeps: tuple[Compared, ...]
    settings: dict[str, tuple[Any, ...]]


def compare_sweeps(sweeps: Sequence[SweepResults]) -> Comparison:
    """Compare two or more sweeps.

    Raises:
        RequestError: If there are fewer than two, or no metric of the first one is known of all others.
    """
    if len(sweeps) < 2:
        raise RequestError(f"two or more sweeps are compared, got {len(sweeps)}")
    metrics = _common(sweeps)
    labels = _labels(sweeps)
    finished = {label: _finished(s, metrics) for label, s in zip(labels, sweeps, strict=True)}
    on_front = {id(r) for r in pareto_front([r for found in finished.values() for r in found], metrics=metrics)}
    compared = [
        Compared(
            label=label,
            sweep=sweep,
            best=_best(finished[label], metrics[0]),
            after=tuple(_after(sweep, finished[label], metrics[0], share) for share in SHARES),
            front=sum(id(r) in on_front for r in finished[label]),
        )
        for label, sweep in zip(labels, sweeps, strict=True)
    ]
    return Comparison(metrics=metrics, sweeps=tuple(compared), settings=_differences(sweeps))


def _common(sweeps: Sequence[SweepResults]) -> tuple[MetricSpec, ...]:
    known = [{name for r in s.records for name in metrics_of(r)} for s in sweeps]
    metrics = tuple(m for m in sweeps[0].spec.metrics if all(m.name in names for names in known))
    if not metrics:
        names = " and ".join(m.name for m in sweeps[0].spec.metrics)
        lacking = next(
            s for s, found in zip(sweeps, known, strict=True) if not {m.name for m in sweeps[0].spec.metrics} & found
        )
        raise RequestError(f"{lacking.storage.uri}: none of its trials has {names}, by which it would be compared")
    return metrics


def _labels(sweeps: Sequence[SweepResults]) -> list[str]:
    """Names, or addresses where two sweeps have the same name."""
    names = [s.spec.name for s in sweeps]
    return [s.storage.uri if names.count(n) > 1 else n for s, n in zip(sweeps, names, strict=True)]


def _finished(sweep: SweepResults, metrics: Sequence[MetricSpec]) -> list[TrialRecord]:
    return [
        r
        for r in sweep.records
        if r.state == "FINISHED"
        and not r.is_replicate
        and broken_constraint(r, sweep.spec) is None
        and all(m.name in metrics_of(r) for m in metrics)
    ]


def _best(records: Sequence[TrialRecord], metric: MetricSpec) -> TrialRecord | None:
    best: TrialRecord | None = None
    for record in records:
        if best is None or metric.better(metrics_of(record)[metric.name], metrics_of(best)[metric.name]):
            best = record
    return best


def _after(sweep: SweepResults, finished: Sequence[TrialRecord], metric: MetricSpec, share: float) -> float | None:
    searched = [r.number for r in sweep.records if not r.is_replicate]
    last = sorted(searched)[max(0, round(len(searched) * share) - 1)] if searched else 0
    best = _best([r for r in finished if r.number <= last], metric)
    return metrics_of(best)[metric.name] if best else None


def _differences(sweeps: Sequence[SweepResults]) -> dict[str, tuple[Any, ...]]:
    flat = [_settings(s) for s in sweeps]
    paths = list(dict.fromkeys(path for settings in flat for path in settings))
    values = {path: tuple(settings.get(path) for settings in flat) for path in paths}
    return {path: found for path, found in values.items() if any(v != found[0] for v in found)}


def _settings(sweep: SweepResults) -> dict[str, Any]:
    """What was asked, without what only says where and how it ran; parameters stay whole."""
    document = sweep.spec.model_dump(mode="json", exclude_defaults=True)
    parameters = {f"parameters.{path}": cases for path, cases in document.pop("parameters", {}).items()}
    rest = {key: value for key, value in document.items() if key not in _OF_ITSELF}
    return {**flatten(rest), **parameters}
