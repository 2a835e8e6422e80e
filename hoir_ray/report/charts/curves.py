"""Learning curves: one line per trial, ending in a mark that says how, with the reason on hover."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hoir_ray import wording
from hoir_ray.report.chart import COLOURS, MARKS, Chart, axis, counted, plain, trial_settings
from hoir_ray.results.record import State, TrialRecord
from hoir_ray.results.sweep_results import SweepResults

MAX_POINTS = 120


def draw(sweep: SweepResults) -> Chart:
    metric = sweep.spec.epoch_metric.name
    title = f"Learning curves of {metric}"
    curves = {r.trial: (r, points) for r in sweep.records if (points := _points(r, metric))}
    if not curves:
        return Chart(title=title, summary="No trial has reported an epoch, so there are no curves.")
    data: list[dict[str, Any]] = []
    states: list[State] = list(dict.fromkeys(r.state for r, _ in curves.values()))
    for state in sorted(states):
        group = [(r, points) for r, points in curves.values() if r.state == state]
        data += [_lines(state, group), _ends(state, group, metric=metric)]
    without = len(sweep.records) - len(curves)
    missing = f" {without} trial{'' if without == 1 else 's'} without any epoch left no curve." if without else ""
    stopped = [(r, points[-1][0]) for r, points in curves.values() if r.state == "PRUNED"]
    return Chart(
        title=title,
        summary=f"{len(curves)} trials: {counted(Counter(r.state for r, _ in curves.values()))}. "
        f"A line ends where its trial ended; the mark there says why.{missing}",
        figure={"data": data, "layout": {"xaxis": axis("epoch"), "yaxis": axis(metric), "hovermode": "closest"}},
        header=("stopped", "at epoch", "why"),
        rows=[(r.trial, wording.number(epoch), r.reason) for r, epoch in stopped],
    )


def _points(record: TrialRecord, metric: str) -> list[tuple[float, float]]:
    points = [(row["epoch"], row[metric]) for row in record.curve if abs(row.get(metric, float("nan"))) < float("inf")]
    step = -(-len(points) // MAX_POINTS)
    return [*points[::step], *points[-1:]] if step > 1 else points


def _lines(state: State, group: list[tuple[TrialRecord, list[tuple[float, float]]]]) -> dict[str, Any]:
    """Join all lines of one state into one trace, with gaps: a trace each would take seconds to draw."""
    x: list[float | None] = []
    y: list[float | None] = []
    for _, points in group:
        x += [p[0] for p in points] + [None]
        y += [round(p[1], 6) for p in points] + [None]
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "hoverinfo": "skip", "showlegend": False,
        "legendgroup": state, "opacity": 0.9 if state == "FINISHED" else 0.55,
        "line": {"color": COLOURS[state], "width": 1.8 if state == "FINISHED" else 1.1},
    }  # fmt: skip


def _ends(state: State, group: list[tuple[TrialRecord, list[tuple[float, float]]]], *, metric: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "name": state.lower(), "legendgroup": state,
        "x": [points[-1][0] for _, points in group],
        "y": [points[-1][1] for _, points in group],
        "customdata": [r.trial for r, _ in group],
        "text": [f"{_wrapped(r.reason)}<br>{trial_settings(r)}" for r, _ in group],
        "marker": {"color": COLOURS[state], "symbol": MARKS[state], "size": 9,
                   "line": {"color": COLOURS[state], "width": 2}},
        "hovertemplate": f"<b>%{{customdata}}</b> {state.lower()}<br>{plain(metric)} %{{y:.4~g}} at epoch %{{x}}"
        "<br>%{text}<extra></extra>",
    }  # fmt: skip


def _wrapped(text: str, *, width: int = 60) -> str:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(map(plain, lines))
