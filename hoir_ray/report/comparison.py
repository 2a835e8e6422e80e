"""The page of a comparison: sweeps laid over each other, and the pictures of the best side by side."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hoir_ray import wording
from hoir_ray.report.chart import PALETTE, Chart, axis, plain, spans_decades, trial_settings, value_of
from hoir_ray.report.charts.progress import finished
from hoir_ray.report.page import embedded, fill_template, write_page
from hoir_ray.report.pictures import Album, collect
from hoir_ray.results.management.comparison import Comparison, best_header, best_row, front_header, front_row, setting

_MARKS = ("circle", "square", "diamond", "cross", "triangle-up", "star", "x")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """Write the page; the file appears whole or not at all.

    Raises:
        StorageError: If it cannot be written, or a picture cannot be read.
    """
    return write_page(build_comparison(comparison), out)


def build_comparison(comparison: Comparison) -> str:
    """The page's HTML, which opens offline."""
    charts = {
        "over-trials": _over(comparison, by_trials=True),
        "over-time": _over(comparison, by_trials=False),
        "fronts": _fronts(comparison),
    }
    return fill_template(
        "comparison.html",
        labels=[s.label for s in comparison.sweeps],
        rows=[best_row(comparison, each) for each in comparison.sweeps],
        header=best_header(comparison),
        others=[s.label for s in comparison.others],
        metric=comparison.metrics[0],
        charts=charts,
        pictures=list(_pictures(comparison)),
        settings=[(path, *map(setting, values)) for path, values in comparison.settings.items()],
        data=embedded(charts, Album(), {}),
    )


def _over(comparison: Comparison, *, by_trials: bool) -> Chart:
    metric, title = comparison.metrics[0], "trials" if by_trials else "time"
    data: list[dict[str, Any]] = []
    for number, each in enumerate(comparison.sweeps):
        ended, minutes, best = finished(each.sweep, metric)
        if not ended:
            continue
        ends = sorted(r.ended_at for r in each.sweep.records if r.ended_at and not r.is_replicate)
        unit = f"after %{{x}} of {len(ends)} trials" if by_trials else "after %{x:.1f} min"
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(ended) == 1 else "lines",
                "name": plain(each.label),
                "x": [bisect_right(ends, r.ended_at or "") for r in ended] if by_trials else minutes,
                "y": best,
                "customdata": [r.trial for r in ended],
                "line": {"shape": "hv", "color": _colour(number), "width": 2, "dash": _DASHES[number % len(_DASHES)]},
                "hovertemplate": f"<b>{plain(each.label)}</b> %{{customdata}}<br>{plain(metric.name)} %{{y:.4~g}}, "
                f"{unit}<extra></extra>",
            }
        )
    x = "trials that have ended" if by_trials else "minutes since the first trial"
    figure = {"data": data, "layout": {"xaxis": axis(x), "yaxis": axis(metric.name), "showlegend": True}}
    return Chart(
        title=f"Best {metric.name} over {title}",
        summary="The best so far of each sweep, by the metric of the first one."
        if data
        else "No trial has finished within the constraints yet.",
        figure=figure if data else None,
    )


def _fronts(comparison: Comparison) -> Chart:
    y, x = comparison.metrics[0], comparison.metrics[1]
    shape = "linear" if len(comparison.metrics) > 2 else "hv" if x.goal == "minimize" else "vh"
    data: list[dict[str, Any]] = []
    rows: list[tuple[str, ...]] = []
    for number, each in enumerate(comparison.sweeps):
        front = sorted(each.front, key=lambda r: value_of(r, x.name) or 0.0)
        if not front:
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": plain(each.label),
                "x": [value_of(r, x.name) for r in front],
                "y": [value_of(r, y.name) for r in front],
                "customdata": [r.trial for r in front],
                "text": [trial_settings(r) for r in front],
                "line": {"color": _colour(number), "width": 1.5, "shape": shape, "dash": "dot"},
                "marker": {"color": _colour(number), "size": 9, "symbol": _MARKS[number % len(_MARKS)]},
                "hovertemplate": f"<b>{plain(each.label)}</b> %{{customdata}}<br>{plain(y.name)} %{{y:.4~g}}"
                f"<br>{plain(x.name)} %{{x:,}}<br>%{{text}}<extra></extra>",
            }
        )
        rows += [front_row(comparison, each, r) for r in front]
    values = [v for trace in data for v in trace["x"] if v is not None]
    layout = {"xaxis": axis(x.name, log=spans_decades(values)), "yaxis": axis(y.name), "showlegend": True}
    summary = "; ".join(
        f"{s.label}: {len(s.front)} trials, {s.num_leading} of them unbeaten" for s in comparison.sweeps
    )
    return Chart(
        title=f"Fronts: {y.name} against {x.name}",
        summary=f"{summary}.",
        figure={"data": data, "layout": {**layout, "hovermode": "closest"}} if data else None,
        header=front_header(comparison),
        rows=rows,
    )


def _pictures(comparison: Comparison) -> Iterator[dict[str, str]]:
    """The best trials' pictures, and before them what they represent, each once."""
    seen: set[str] = set()
    for each in comparison.sweeps:
        if each.best is None:
            continue
        album = collect(each.sweep.storage, [each.best], task=each.sweep.spec.task)
        panels = album.shown.get(each.best.trial, {})
        if (original := panels.get("original")) is not None and original not in seen:
            seen.add(original)
            yield {"source": album.files[original], "name": "original", "caption": f"original of {each.label}"}
        if (fit := panels.get("fit") or panels.get("picture")) is not None:
            values = ", ".join(f"{n} {wording.number(v)}" for n, v in comparison.values(each.best).items())
            name = f"{each.label}: {each.best.trial}"
            yield {"source": album.files[fit], "name": name, "caption": f"{name}; {values}"}


def _colour(number: int) -> str:
    return PALETTE[number % len(PALETTE)]
