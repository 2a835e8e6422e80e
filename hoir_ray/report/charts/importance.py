"""Importance of parameters, each among the trials in which it applies."""

from __future__ import annotations

from typing import Any

from hoir_ray import wording
from hoir_ray.report.chart import PALETTE, Chart, plain
from hoir_ray.report.importance import Importance, importances
from hoir_ray.results.sweep_results import SweepResults

EXPLANATION = (
    "The share of the differences between trials that a parameter explains on its own, among the trials in which it "
    "applies, corrected for chance. Trials that were stopped count by how far they came."
)


def draw(sweep: SweepResults) -> Chart:
    title = "Which parameters mattered"
    metrics = [m for m in sweep.spec.metrics if m.name != "num_parameters"] or list(sweep.spec.metrics)
    found = {m.name: importances(sweep.records, spec=sweep.spec, metric=m) for m in metrics}
    first = found[metrics[0].name]
    known = [i for i in first if i.share is not None]
    if not known:
        return Chart(title=title, summary="Too few trials have ended to tell which parameters mattered.")
    names = [_label(i) for i in known]
    data: list[dict[str, Any]] = []
    for number, metric in enumerate(metrics):
        shares = {_label(i): i.share or 0.0 for i in found[metric.name]}
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": plain(metric.name),
                "y": [plain(n) for n in names][::-1],
                "x": [shares.get(n, 0.0) for n in names][::-1],
                "marker": {"color": PALETTE[number % len(PALETTE)]},
                "hovertemplate": "%{y}<br>explains %{x:.0%}<extra></extra>",
            }
        )
    layout = {
        "xaxis": {"tickformat": ".0%", "title": {"text": "share explained"}, "rangemode": "tozero"},
        "yaxis": {"automargin": True, "type": "category"},
        "barmode": "group",
        "minWidth": 560,
        "showlegend": len(metrics) > 1,
        "height": 120 + 34 * len(names) * max(1, len(metrics) // 2 + 1),
    }
    top = known[0]
    return Chart(
        title=title,
        summary=f"{EXPLANATION} Most for {metrics[0].name}: {_label(top)}, {top.share:.0%}.",
        figure={"data": data, "layout": layout},
        header=("parameter", "applies when", "trials", *(f"explains of {m.name}" for m in metrics)),
        rows=[_row(i, [found[m.name] for m in metrics]) for i in first],
    )


def _row(line: Importance, columns: list[list[Importance]]) -> tuple[str, ...]:
    shares = [next((i.share for i in c if _label(i) == _label(line)), None) for c in columns]
    words = ["too few trials" if s is None else f"{s:.0%}" for s in shares]
    return wording.short_name(line.path), line.condition or "always", str(line.num_trials), *words


def _label(line: Importance) -> str:
    values = " ".join(part.split(" is ", 1)[1] for part in line.condition.split(" and ")) if line.condition else ""
    return wording.short_name(line.path) + (f" ({values})" if values else "")
