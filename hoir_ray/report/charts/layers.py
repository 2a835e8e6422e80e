"""Layer types side by side: how far the trials of each came."""

from __future__ import annotations

from typing import Any

from hoir_ray import wording
from hoir_ray.report.chart import COLOURS, MARKS, Chart, axis, plain, trial_settings, value_of
from hoir_ray.results.ranking import broken_constraint
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.sweep_results import SweepResults

LAYER_TYPE = "network.layer_type"


def draw(sweep: SweepResults) -> Chart:
    title, metric = "Layer types", sweep.spec.metric
    groups: dict[str, list[TrialRecord]] = {}
    for record in sweep.records:
        if value_of(record, metric.name) is not None and not record.is_replicate:
            groups.setdefault(str(record.parameters.get(LAYER_TYPE, "the default")), []).append(record)
    if not groups:
        return Chart(title=title, summary="No trial has a result to compare layer types by yet.")

    def loss(record: TrialRecord) -> float:
        return metric.loss(value_of(record, metric.name) or 0.0)

    groups = {name: sorted(group, key=loss) for name, group in groups.items()}
    names = sorted(groups, key=lambda name: loss(groups[name][0]))
    leader = groups[names[0]][0]
    alone = f"All trials use {names[0]}." if len(names) == 1 else f"The best trial, {leader.trial}, is {names[0]}."
    return Chart(
        title=title,
        summary=f"{alone} Each point is a trial's best {metric.name}, whether it was stopped early or not.",
        figure={"data": _traces(sweep, names, groups), "layout": _layout(names, metric.name)},
        header=("layer type", "trials", "finished", "stopped early", "best trial", f"best {metric.name}", "parameters"),
        rows=[_row(name, groups[name], metric.name) for name in names],
    )


def _row(name: str, group: list[TrialRecord], metric: str) -> tuple[str, ...]:
    states = [r.state for r in group]
    best = group[0]
    counts = (str(len(group)), str(states.count("FINISHED")), str(states.count("PRUNED")))
    value, size = value_of(best, metric) or 0.0, best.num_parameters
    return name, *counts, best.trial, wording.number(value), f"{size:,}" if size is not None else "-"


def _traces(sweep: SweepResults, names: list[str], groups: dict[str, list[TrialRecord]]) -> list[dict[str, Any]]:
    metric = sweep.spec.metric.name
    kinds: dict[str, list[tuple[float, TrialRecord]]] = {}
    for column, name in enumerate(names):
        group = groups[name]
        for place, record in enumerate(group):
            broken = record.state == "FINISHED" and broken_constraint(record, sweep.spec) is not None
            kind = "breaks a constraint" if broken else record.state.lower()
            # Side by side in the order of their scores, so that no point hides another.
            beside = 0.0 if len(group) == 1 else 0.6 * (place / (len(group) - 1) - 0.5)
            kinds.setdefault(kind, []).append((column + beside, record))
    traces = []
    for kind, points in sorted(kinds.items()):
        state = points[0][1].state
        colour = COLOURS["FAILED"] if kind == "breaks a constraint" else COLOURS[state]
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": kind,
                "x": [x for x, _ in points], "y": [value_of(r, metric) for _, r in points],
                "customdata": [r.trial for _, r in points], "text": [trial_settings(r) for _, r in points],
                "marker": {"color": colour, "symbol": MARKS[state], "size": 9, "line": {"color": colour, "width": 1.5}},
                "hovertemplate": f"<b>%{{customdata}}</b><br>{plain(metric)} %{{y:.4~g}}<br>%{{text}}<extra></extra>",
            }
        )  # fmt: skip
    return traces


def _layout(names: list[str], metric: str) -> dict[str, Any]:
    ticks = {"tickvals": list(range(len(names))), "ticktext": [plain(n) for n in names], "showgrid": False}
    return {
        "xaxis": {**ticks, "range": [-0.5, len(names) - 0.5], "zeroline": False, "automargin": True},
        "yaxis": axis(metric),
        "hovermode": "closest",
    }
