"""Builds a sweep's saved view or report and saves it in W&B. Run as a program, which can be ended when it hangs.

It reads a `Request` as JSON from standard input and writes one line of JSON: a `Saved`, or what went wrong.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

MAX_RUNS = 100  # lines in a chart; W&B shows ten unless told otherwise
MAX_COLUMNS = 10  # of parameters beside the names of runs
TITLE_LENGTH = 128
WIDE, HALF, HIGH = 24, 12, 12  # W&B's grid has 24 columns


@dataclass(frozen=True)
class Axis:
    """A metric, or a parameter by its dotted path, as charts show it."""

    name: str
    goal: str | None = None
    log: bool = False


@dataclass(frozen=True)
class Contents:
    """Contents of a sweep's view and report.

    Attributes:
        curves: Metrics of an epoch.
        parameters: Those that the sweep searches.
        quality: The first metric of the sweep.
        costs: What it is plotted against: the sweep's other metrics, or the number of parameters.
        pictures: Names of the task's pictures.
    """

    sweep: str
    curves: tuple[Axis, ...]
    parameters: tuple[Axis, ...]
    quality: Axis
    costs: tuple[Axis, ...]
    pictures: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """Words of a report.

    Attributes:
        summary: One sentence on the whole sweep.
        front: For each trial on the front, best first: its name, its run's id, and its cells.
        columns: Names of the cells.
    """

    summary: str
    columns: tuple[str, ...]
    front: tuple[tuple[str, str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Saved:
    """A view or report in W&B."""

    id: str
    name: str
    entity: str
    address: str


@dataclass(frozen=True)
class Request:
    """A view or report to save, and its place.

    Attributes:
        entity: None for the default one of the key's user.
        name: W&B's own name of the view, the same for each attempt at it.
        ended: Makes it a report.
        saved: The report that is written anew in place of making one more.
        limit_s: After which the program ends itself.
    """

    project: str
    entity: str | None
    name: str
    contents: Contents
    ended: Ended | None = None
    saved: Saved | None = None
    limit_s: float = 60.0


def curves(contents: Contents) -> list[Any]:
    reports = _reports()

    return [
        reports.LinePlot(
            title=f"{axis.name} over epoch",
            x="epoch",
            y=[axis.name],
            log_y=axis.log or None,
            max_runs_to_show=MAX_RUNS,
            layout=reports.Layout(w=HALF, h=HIGH),
        )
        for axis in contents.curves
    ]


def parallel_coordinates(contents: Contents) -> Any:
    reports = _reports()

    column = reports.ParallelCoordinatesPlotColumn
    parameters = [column(metric=reports.Config(a.name), log=a.log or None) for a in contents.parameters]
    quality = column(metric=reports.SummaryMetric(contents.quality.name), log=contents.quality.log or None)
    return reports.ParallelCoordinatesPlot(
        title=f"settings and {contents.quality.name}",
        columns=[*parameters, quality],
        layout=reports.Layout(w=WIDE, h=HIGH),
    )


def against_costs(contents: Contents) -> list[Any]:
    reports = _reports()

    return [
        reports.ScatterPlot(
            title=f"{contents.quality.name} against {cost.name}",
            x=reports.SummaryMetric(cost.name),
            y=reports.SummaryMetric(contents.quality.name),
            log_x=cost.log or None,
            log_y=contents.quality.log or None,
            layout=reports.Layout(w=HALF, h=HIGH),
        )
        for cost in contents.costs
    ]


def pictures(contents: Contents) -> list[Any]:
    reports = _reports()

    return [
        reports.MediaBrowser(
            title=name,
            media_keys=[f"pictures/{name}"],
            num_columns=4,
            layout=reports.Layout(w=HALF, h=HIGH),
        )
        for name in contents.pictures
    ]


def table() -> Any:
    reports = _reports()

    return reports.WeavePanelSummaryTable(table_name="trials", layout=reports.Layout(w=WIDE, h=HIGH))


def workspace(request: Request, entity: str) -> Any:
    workspaces = _workspaces()

    contents = request.contents
    shown = {
        "Curves": curves(contents),
        "Settings": [parallel_coordinates(contents)],
        "Size against quality": against_costs(contents),
        "Pictures": pictures(contents),
        "Trials": [table()],
    }
    layouts = {
        name: workspaces.SectionLayoutSettings(columns=min(2, len(panels)), rows=-(-len(panels) // 2))
        for name, panels in shown.items()
    }
    columns = [f"summary:{axis.name}" for axis in (contents.quality, *contents.costs)]
    view = workspaces.Workspace(
        entity=entity,
        project=request.project,
        name=contents.sweep,
        sections=[
            workspaces.Section(name=name, panels=panels, is_open=True, layout_settings=layouts[name])
            for name, panels in shown.items()
        ],
        settings=workspaces.WorkspaceSettings(x_axis="epoch", max_runs=MAX_RUNS),
        runset_settings=workspaces.RunsetSettings(
            filters=_of_sweep(contents.sweep),
            order=[workspaces.Ordering(workspaces.Summary(contents.quality.name), ascending=_is_less_better(contents))],
            pinned_columns=columns + [_column(axis.name) for axis in contents.parameters[:MAX_COLUMNS]],
        ),
    )
    view._internal_name = request.name
    return view


def report(request: Request, entity: str, *, app: str) -> Any:
    reports = _reports()

    assert request.ended is not None
    contents, ended = request.contents, request.ended
    runs = f"{app.rstrip('/')}/{entity}/{request.project}/runs"
    rows = [(f"[{trial}]({runs}/{run})", *map(_cell, cells)) for trial, run, cells in ended.front]

    def grid(panels: Sequence[Any], *, trials: Sequence[str] = ()) -> Any:
        runset = reports.Runset(
            entity=entity,
            project=request.project,
            name=contents.sweep,
            filters=_of_sweep(contents.sweep, trials=trials),
            order=[reports.OrderBy(reports.SummaryMetric(contents.quality.name), ascending=_is_less_better(contents))],
        )
        return reports.PanelGrid(runsets=[runset], panels=list(panels))

    best = [trial for trial, _, _ in ended.front]
    blocks: list[Any] = [
        reports.P(ended.summary),
        reports.H2("The front"),
        reports.MarkdownBlock(_markdown_table(("trial", *ended.columns), rows)),
        grid(against_costs(contents)),
        *([reports.H2("The best pictures"), grid(pictures(contents), trials=best)] if best else []),
        reports.H2("Settings"),
        grid([parallel_coordinates(contents)]),
        reports.H2("Curves"),
        grid(curves(contents)),
        reports.H2("Trials"),
        grid([table()]),
    ]
    made = reports.Report(
        project=request.project,
        entity=entity,
        title=f"{contents.sweep}: the front and the best pictures"[:TITLE_LENGTH],
        blocks=blocks,
        width="fluid",
    )
    made.id = request.saved.id if request.saved else ""
    return made


def save(request: Request) -> Saved:
    """Save the view or report.

    Raises:
        Exception: Whatever the SDK raises where W&B does not take it.
    """
    import wandb
    from wandb_workspaces._graphql import get_app_url

    api = wandb.Api()
    entity = request.entity or api.default_entity
    if not entity:
        raise ValueError("the key's user has no default entity; set trackers.wandb.entity")
    if request.ended is not None:
        made = report(request, entity, app=get_app_url(api))
        made.save()
        return Saved(made.id, made.title, entity, made.url)
    if request.project not in {project.name for project in api.projects(entity)}:
        api.create_project(request.project, entity)  # else the first run would, which may come later
    view = workspace(request, entity).save()
    return Saved(view._internal_id, view._internal_name, entity, view.url)


def parse(text: str) -> Request:
    """Read a request from its JSON."""
    sent = json.loads(text)
    shown, ended, saved = sent["contents"], sent["ended"], sent["saved"]
    many = {name: tuple(Axis(**axis) for axis in shown[name]) for name in ("curves", "parameters", "costs")}
    contents = {**shown, **many, "quality": Axis(**shown["quality"]), "pictures": tuple(shown["pictures"])}
    return Request(
        **{
            **sent,
            "contents": Contents(**contents),
            "ended": ended and Ended(**ended),
            "saved": saved and Saved(**saved),
        }
    )


def main() -> None:
    request, answer = parse(sys.stdin.read()), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is not the answer
    signal.setitimer(signal.ITIMER_REAL, request.limit_s)  # ends this process where whoever started it is gone
    said: Mapping[str, Any]
    try:
        said = asdict(save(request))
    except Exception as error:  # the SDK raises errors of many kinds
        said = {"error": f"{type(error).__name__}: {error}"}
    with answer:
        answer.write(json.dumps(said) + "\n")


def _reports() -> Any:
    return import_module("wandb_workspaces.reports.v2")  # by its name: it takes seconds, and its types are not exported


def _workspaces() -> Any:
    return import_module("wandb_workspaces.workspaces")


def _of_sweep(sweep: str, *, trials: Sequence[str] = ()) -> list[Any]:
    """The filter that keeps a sweep's runs, or those of some of its trials."""
    expr = _workspaces()

    named = [expr.Metric("Name").isin(list(trials))] if trials else []
    return [expr.Metric("Group") == sweep, *named]


def _is_less_better(contents: Contents) -> bool:
    return contents.quality.goal == "minimize"


def _column(path: str) -> str:
    """A nested setting as the runs' table names it: its first part holds the others."""
    first, *rest = path.split(".")
    return ".".join([f"config:{first}", "value", *rest])


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(map(_cell, headings)), ["---"] * len(headings), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """Text that Markdown takes for text."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]()<>#|~" else c for c in " ".join(text.split()))


if __name__ == "__main__":
    main()
