"""Best over time: what each finished trial brought, and the best so far."""

from __future__ import annotations

from itertools import accumulate

from hoir_ray import wording
from hoir_ray.report.chart import ACCENT, COLOURS, Chart, axis, plain, seconds_between, value_of
from hoir_ray.results.ranking import broken_constraint
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.spec.metric import MetricSpec

_MOST_SECONDS = 180  # that are shown as such


def finished(sweep: SweepResults, metric: MetricSpec) -> tuple[list[TrialRecord], list[float], list[float]]:
    """Feasible trials of the search in the order of their ends, the minutes until then, and the best value so far."""
    ended = [
        r
        for r in sweep.records
        if r.state == "FINISHED" and not r.is_replicate and r.ended_at and broken_constraint(r, sweep.spec) is None
    ]
    ended = sorted((r for r in ended if value_of(r, metric.name) is not None), key=lambda r: r.ended_at or "")
    begin = min((r.started_at or r.created_at for r in sweep.records), default="")  # as the time that it was busy
    minutes = [seconds_between(begin, r.ended_at) / 60 for r in ended]
    better = min if metric.goal == "minimize" else max
    return ended, minutes, list(accumulate((value_of(r, metric.name) or 0.0 for r in ended), better))


def draw(sweep: SweepResults) -> Chart:
    metric = sweep.spec.metric
    title = f"Best {metric.name} over time"
    ended, minutes, steps = finished(sweep, metric)
    if not ended:
        return Chart(title=title, summary="No trial has finished within the constraints yet.")
    values = [value_of(r, metric.name) or 0.0 for r in ended]
    seconds = [60 * m for m in minutes]
    unit, length = ("minutes", 60.0) if seconds[-1] > _MOST_SECONDS else ("seconds", 1.0)
    times = [s / length for s in seconds]
    rows = [
        (record.trial, wording.duration(second), wording.number(best))
        for record, second, best, before in zip(ended, seconds, steps, [None, *steps], strict=False)
        if best != before
    ]
    hover = f"<b>%{{customdata}}</b><br>{plain(metric.name)} %{{y:.4~g}}<br>after %{{x:.1f}} {unit}<extra></extra>"
    names = [r.trial for r in ended]
    data = [
        {
            "type": "scatter", "mode": "markers", "name": "finished trial", "x": times, "y": values,
            "customdata": names, "marker": {"color": COLOURS["FINISHED"], "size": 8}, "hovertemplate": hover,
        },
        {
            "type": "scatter", "mode": "lines", "name": "best so far", "x": times, "y": steps, "hoverinfo": "skip",
            "line": {"shape": "hv", "color": ACCENT, "width": 2},
        },
    ]  # fmt: skip
    return Chart(
        title=title,
        summary=f"{rows[-1][0]} reached {metric.name} {rows[-1][2]} after {rows[-1][1]}; "
        f"the best changed {len(rows)} time{'' if len(rows) == 1 else 's'} among {len(ended)} finished trials.",
        figure={
            "data": data,
            "layout": {"xaxis": axis(f"{unit} since the first trial started"), "yaxis": axis(metric.name)},
        },
        header=("new best", "after", metric.name),
        rows=rows,
    )
