"""Parallel coordinates: a line per trial through its settings; a parameter that does not apply has its own place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hoir_ray import wording
from hoir_ray.report.chart import Chart, plain, searched, shown, trial_settings, value_of
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.spec.parameters import Scalar

NUM_BANDS = 6
# Viridis without its lightest end: readable on white and on black.
BANDS = ("#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39")
NOT_APPLIED = -0.12
MAX_AXES = 12


@dataclass(frozen=True)
class _Axis:
    """Scale of one axis: values to [0, 1], and the ticks beside it."""

    name: str
    places: dict[str, float]
    ticks: list[tuple[float, str]]
    gaps: bool


def draw(sweep: SweepResults) -> Chart:
    title = "Settings of every trial"
    metric = sweep.spec.metric.name
    records = [r for r in sweep.records if value_of(r, metric) is not None and not r.is_replicate]
    paths = searched(sweep)[:MAX_AXES]
    if not records or not paths:
        return Chart(title=title, summary="There are no trials with different settings and a result to compare yet.")
    axes = [
        _axis(
            wording.short_name(p),
            {r.trial: r.parameters[p] for r in records if p in r.parameters},
            len(records),
            is_log=any(case.is_log for case in sweep.spec.parameters[p]),
        )
        for p in paths
    ]
    axes.append(_axis(metric, {r.trial: value_of(r, metric) for r in records}, len(records), is_log=False))
    order = sorted(records, key=lambda r: value_of(r, metric) or 0.0)
    data = [_band(order, axes, band) for band in range(NUM_BANDS)]
    hidden = len(searched(sweep)) - len(paths)
    return Chart(
        title=title,
        summary=f"Each line is a trial; its colour is its place by {metric}, the lightest green being the highest. "
        "A line that dips below an axis belongs to a trial in which that parameter does not apply."
        + (f" {hidden} more parameters are left out." if hidden > 0 else ""),
        figure={"data": [*data, _handles(order, axes)], "layout": _layout(axes)},
        header=("trial", *(a.name for a in axes)),
        rows=[
            (r.trial, *(shown(r.parameters.get(p, "does not apply")) for p in paths), shown(value_of(r, metric)))
            for r in reversed(order)
        ],
    )  # fmt: skip


def _axis(name: str, values: dict[str, Scalar], num_trials: int, *, is_log: bool) -> _Axis:
    """The axis of a parameter, on a log scale where it was searched on one, or spans more than a decade."""
    gaps = len(values) < num_trials
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values.values()):
        numbers = {k: float(v) for k, v in values.items()}  # type: ignore[arg-type]
        low, high = min(numbers.values()), max(numbers.values())
        log = low > 0 and (is_log or high / low > 10)

        def scaled(v: float) -> float:
            return math.log(v) if log else v

        span = (scaled(high) - scaled(low)) or 1.0
        places = {k: (scaled(v) - scaled(low)) / span for k, v in numbers.items()}
        middle = math.sqrt(low * high) if log else (low + high) / 2
        if all(isinstance(v, int) for v in values.values()):
            middle = float(round(middle))  # half a node would name what cannot be
        ticks = sorted({low, middle, high})
        return _Axis(name, places, [((scaled(v) - scaled(low)) / span, wording.number(v)) for v in ticks], gaps)
    choices = sorted({str(v) for v in values.values()})
    at = {choice: i / max(1, len(choices) - 1) for i, choice in enumerate(choices)}
    return _Axis(name, {k: at[str(v)] for k, v in values.items()}, [(at[c], c) for c in choices], gaps)


def _band(order: list[TrialRecord], axes: list[_Axis], band: int) -> dict[str, Any]:
    x: list[float | None] = []
    y: list[float | None] = []
    for place, record in enumerate(order):
        if place * NUM_BANDS // len(order) == band:
            x += [*range(len(axes)), None]
            y += [*(a.places.get(record.trial, NOT_APPLIED) for a in axes), None]
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "hoverinfo": "skip", "showlegend": False,
        "line": {"color": BANDS[band], "width": 1.2 + 0.25 * band}, "opacity": 0.6 + 0.07 * band,
    }  # fmt: skip


def _handles(order: list[TrialRecord], axes: list[_Axis]) -> dict[str, Any]:
    """Points at the metric's end of each line, to hover over."""
    return {
        "type": "scatter", "mode": "markers", "showlegend": False,
        "x": [len(axes) - 1] * len(order), "y": [axes[-1].places[r.trial] for r in order],
        "customdata": [r.trial for r in order], "text": [trial_settings(r) for r in order],
        "marker": {"size": 7, "color": [BANDS[i * NUM_BANDS // len(order)] for i in range(len(order))]},
        "hovertemplate": "<b>%{customdata}</b><br>%{text}<extra></extra>",
    }  # fmt: skip


def _layout(axes: list[_Axis]) -> dict[str, Any]:
    notes = [
        {
            "x": i,
            "y": place,
            "text": plain(text),
            "showarrow": False,
            "xanchor": "left",
            "xshift": 5,
            "font": {"size": 11},
        }
        for i, a in enumerate(axes)
        for place, text in a.ticks
    ]
    notes += [
        {
            "x": i,
            "y": NOT_APPLIED,
            "text": "-",
            "showarrow": False,
            "xanchor": "left",
            "xshift": 5,
            "font": {"size": 11},
        }
        for i, a in enumerate(axes)
        if a.gaps
    ]
    line = {"width": 1, "color": "#888888"}
    lines = [{"type": "line", "x0": i, "x1": i, "y0": 0, "y1": 1, "line": line} for i in range(len(axes))]
    return {
        "xaxis": {
            "tickvals": list(range(len(axes))), "ticktext": [plain(a.name) for a in axes], "side": "top",
            "range": [-0.15, len(axes) - 0.45], "showgrid": False, "zeroline": False, "fixedrange": True,
            "automargin": True,
        },
        "yaxis": {"visible": False, "range": [NOT_APPLIED - 0.06, 1.06], "fixedrange": True},
        "annotations": notes, "shapes": lines, "hovermode": "closest", "minWidth": 95 * len(axes),
    }  # fmt: skip
