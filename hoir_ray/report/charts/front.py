"""Quality against cost: every trial as a point, the front as a line, the knee marked."""

from __future__ import annotations

from typing import Any

from hoir_ray import wording
from hoir_ray.report.chart import (
    ACCENT,
    COLOURS,
    MARKS,
    Chart,
    axis,
    plain,
    spans_decades,
    trial_settings,
    value_of,
)
from hoir_ray.results.front import axes_of, knee, pareto_front
from hoir_ray.results.ranking import broken_constraint
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.seeds import spreads
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.spec.metric import MetricSpec


def members(sweep: SweepResults) -> list[TrialRecord]:
    """The trials on the front that is drawn, best first."""
    return pareto_front(sweep.leaderboard(), metrics=axes_of(sweep.spec))


def draw(sweep: SweepResults) -> Chart:
    metrics = axes_of(sweep.spec)
    y, x = metrics[0], metrics[1]
    title = f"{y.name} against {x.name}"
    front = members(sweep)
    if not front:
        return Chart(title=title, summary="No trial has finished within the constraints yet, so there is no front.")
    best = knee(front, metrics=metrics)
    traces = [*_other_trials(sweep, x=x.name, y=y.name, front=front), _front(sweep, front, x=x.name, y=y.name)]
    if best is not None:
        traces.append(_knee(best, x=x.name, y=y.name))
    traces += _over_seeds(sweep, front, x=x.name, y=y.name)
    values = [v for r in sweep.records if (v := value_of(r, x.name)) is not None]
    layout = {"xaxis": axis(x.name, log=spans_decades(values)), "yaxis": axis(y.name), "hovermode": "closest"}
    return Chart(
        title=title,
        summary=_summary(front, metrics=metrics, best=best),
        figure={"data": traces, "layout": layout},
        header=("trial", *(m.name for m in metrics), "settings"),
        rows=[
            (r.trial, *(wording.number(value_of(r, m.name) or 0.0) for m in metrics), wording.settings(r.parameters))
            for r in front
        ],
    )


def _summary(front: list[TrialRecord], *, metrics: tuple[MetricSpec, ...], best: TrialRecord | None) -> str:
    names = " and ".join(m.name for m in metrics)
    one = len(front) == 1
    text = f"{len(front)} trial{'' if one else 's'} that no other one beats in {names}"
    ends = [(front[0], "from"), (front[-1], "to")]
    shown = " ".join(
        f"{word} {r.trial} with "
        + " and ".join(f"{m.name} {wording.number(value_of(r, m.name) or 0.0)}" for m in metrics)
        for r, word in ([(front[0], "it is")] if one else ends)
    )
    bend = f" The knee, the best compromise, is {best.trial}." if best else ""
    return f"{text}: {shown}.{bend}"


def _front(sweep: SweepResults, front: list[TrialRecord], *, x: str, y: str) -> dict[str, Any]:
    front = sorted(front, key=lambda r: value_of(r, x) or 0.0)
    # What is reached at least: from each point on, until the next one is better.
    shape = "linear" if len(axes_of(sweep.spec)) > 2 else "hv" if axes_of(sweep.spec)[1].goal == "minimize" else "vh"
    return {
        **_points(front, x=x, y=y),
        "name": "front",
        "mode": "lines+markers",
        "line": {"color": ACCENT, "width": 1.5, "shape": shape, "dash": "dot"},
        "marker": {"color": ACCENT, "size": 11, "symbol": "circle"},
    }


def _over_seeds(sweep: SweepResults, front: list[TrialRecord], *, x: str, y: str) -> list[dict[str, Any]]:
    """Mean and deviation of the runs with other seeds, beside the score by which a trial was selected."""
    known = spreads(sweep.records, metric=y)
    again = [(r, known[r.trial]) for r in front if r.trial in known]
    if not again:
        return []
    deviations = [s.deviation if s.num_seeds > 1 else 0.0 for _, s in again]
    return [
        {
            "type": "scatter",
            "x": [value_of(r, x) for r, _ in again],
            "y": [s.mean for _, s in again],
            "customdata": [r.trial for r, _ in again],
            "hovertemplate": f"<b>%{{customdata}}</b> over seeds<br>{plain(y)} %{{y:.4~g}}<extra></extra>",
            "name": "mean over seeds",
            "mode": "markers",
            "marker": {"color": ACCENT, "size": 9, "symbol": "line-ew-open", "line": {"width": 2}},
            "error_y": {"type": "data", "array": deviations, "color": ACCENT, "thickness": 1},
        }
    ]


def _knee(best: TrialRecord, *, x: str, y: str) -> dict[str, Any]:
    marker = {
        "color": "rgba(0,0,0,0)",
        "size": 20,
        "symbol": "circle",
        "line": {"color": COLOURS["FAILED"], "width": 2},
    }
    return {**_points([best], x=x, y=y), "name": "knee", "mode": "markers", "marker": marker, "hoverinfo": "skip"}


def _other_trials(sweep: SweepResults, *, x: str, y: str, front: list[TrialRecord]) -> list[dict[str, Any]]:
    on_front = {r.trial for r in front}
    kinds: dict[str, list[TrialRecord]] = {}
    for record in sweep.records:
        if record.trial in on_front or record.is_replicate or value_of(record, y) is None:
            continue
        broken = record.state == "FINISHED" and broken_constraint(record, sweep.spec) is not None
        kinds.setdefault("breaks a constraint" if broken else record.state.lower(), []).append(record)
    traces = []
    for kind, records in sorted(kinds.items()):
        state = records[0].state
        colour = COLOURS["FAILED"] if kind == "breaks a constraint" else COLOURS[state]
        symbol = "circle-x-open" if kind == "breaks a constraint" else MARKS[state]
        marker = {"color": colour, "size": 8, "symbol": symbol, "line": {"color": colour, "width": 1.5}}
        traces.append({**_points(records, x=x, y=y), "name": kind, "mode": "markers", "marker": marker})
    return traces


def _points(records: list[TrialRecord], *, x: str, y: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": [value_of(r, x) for r in records],
        "y": [value_of(r, y) for r in records],
        "customdata": [r.trial for r in records],
        "text": [trial_settings(r) for r in records],
        "hovertemplate": f"<b>%{{customdata}}</b><br>{plain(y)} %{{y:.4~g}}<br>{plain(x)} %{{x:,}}"
        "<br>%{text}<extra></extra>",
    }
