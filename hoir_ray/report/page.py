"""The report as one HTML file: everything in it, nothing fetched, every name shown as text."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from hoir_ray import __version__, wording
from hoir_ray.errors import StorageError
from hoir_ray.machine.files import replacing
from hoir_ray.report.chart import Chart, counted, searched, seconds_between, shown, value_of
from hoir_ray.report.charts import CHARTS, codecs, front
from hoir_ray.report.cost import Cost, cost_of
from hoir_ray.report.pictures import GALLERY_SIZE, Album, collect
from hoir_ray.results.front import axes_of
from hoir_ray.results.ranking import broken_constraint
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.seeds import spreads, ties
from hoir_ray.results.sweep_results import SPEC, SweepResults
from hoir_ray.spec.parameters import ParameterCase
from hoir_ray.tasks import load_task

_ERROR_LINES = 12
# All but the first of the list of kinds of charts that ends Plotly's script; were it to look otherwise, all would load.
_KINDS = re.compile(rb"(\.register\(\[[\w$]+\(\))(?:,[\w$]+\(\))+(?=\]\))")


def write_report(sweep: SweepResults, out: Path) -> Path:
    """Write the report; the file appears whole or not at all.

    Raises:
        StorageError: If it cannot be written.
    """
    return write_page(build_report(sweep), out)


def write_page(page: str, out: Path) -> Path:
    """Write a page; the file appears whole or not at all.

    Raises:
        StorageError: If it cannot be written.
    """
    try:
        with replacing(out) as file:
            file.write(page.encode())
    except OSError as error:
        raise StorageError(f"{out}: the page could not be written: {error.strerror or error}") from error
    return out


def build_report(sweep: SweepResults, *, version: str | None = None) -> str:
    """The report's HTML.

    Args:
        version: Of what is shown, for a page that is kept fresh by `watch`; None for a file that stands alone.
    """
    charts = {name: draw(sweep) for name, draw in CHARTS.items()} | codecs.draw(sweep)
    leaders = sweep.leaderboard()
    gallery = _gallery_order(sweep, leaders)
    finished = [r for r in sweep.records if r.state == "FINISHED"]
    drawn = {r.trial: r for r in [*gallery, *front.members(sweep), *leaders, *finished]}
    album = collect(sweep.storage, list(drawn.values()), task=sweep.spec.task)
    broken = [(r.trial, broken_constraint(r, sweep.spec)) for r in finished]
    return fill_template(
        "report.html",
        sweep=sweep,
        spec=sweep.spec,
        yaml=sweep.storage.get(SPEC).decode(),
        charts=charts,
        facts=list(_facts(sweep, leaders)),
        trials=list(_trial_rows(sweep)),
        metrics=[m.name for m in axes_of(sweep.spec)],
        gallery=[r.trial for r in gallery if r.trial in album.shown],
        captions={r.trial: _caption(sweep, r) for r in sweep.records},
        album=album,
        pictured=load_task(sweep.spec.task).pictured,
        warnings=list(_what_is_missing(sweep, charts, album)),
        replicates=list(_replicates(sweep, leaders)),
        failures=_failures(sweep),
        infeasible=[(name, text) for name, text in broken if text],
        cost=list(_cost_rows(cost_of(sweep.records, resources=sweep.spec.resources))),
        space=list(_space(sweep)),
        data=embedded(charts, album, {r.trial: _caption(sweep, r) for r in sweep.records}),
        version=version,
    )


def fill_template(name: str, *, version: str | None = None, **values: Any) -> str:
    """A page of the folder `template` with its values, which are shown as text, Plotly, the style and the script.

    Args:
        version: As `build_report` takes it.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hoir_ray.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(
        plotly=_plotly_script(),
        style=part("style.css"),
        script=part("report.js"),
        program=f"hoir_ray {__version__}",
        version=version,
        **values,
    )


def _gallery_order(sweep: SweepResults, leaders: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The front where there is one to choose from, else the leaderboard."""
    return (front.members(sweep) if len(sweep.spec.metrics) > 1 else list(leaders))[:GALLERY_SIZE]


def _facts(sweep: SweepResults, leaders: Sequence[TrialRecord]) -> Iterator[tuple[str, str]]:
    metric = sweep.spec.metric
    counts = Counter(r.state for r in sweep.records)
    again = sum(r.is_replicate for r in sweep.records)
    yield (
        "trials",
        f"{len(sweep.records)}: {counted(counts)}" + (f"; {again} of them again, with other seeds" if again else ""),
    )
    if leaders:
        best = leaders[0]
        yield f"best {metric.name}", f"{wording.number(value_of(best, metric.name) or 0.0)} ({best.trial})"
        if best.num_parameters is not None:
            yield "its parameters", f"{best.num_parameters:,}"
    else:
        yield f"best {metric.name}", "no trial has finished within the constraints yet"
    cost = cost_of(sweep.records, resources=sweep.spec.resources)
    yield "busy for", wording.duration(cost.busy_s)
    yield "storage", sweep.storage.uri
    moments = sorted(m for r in sweep.records for m in (r.started_at, r.ended_at) if m)
    if moments:
        yield "from, to", f"{moments[0][:16].replace('T', ' ')}, {moments[-1][:16].replace('T', ' ')} UTC"
    if hosts := sorted({r.node.partition(", process ")[0] for r in sweep.records if r.node}):
        yield "on", wording.some(hosts, most=4)
    provenance = dict(sweep.spec.provenance or {})
    if data := provenance.pop("data", None):
        yield "data", data
    if provenance:
        yield "with", ", ".join(f"{name} {version[:12]}" for name, version in provenance.items())


def _trial_rows(sweep: SweepResults) -> Iterator[dict[str, Any]]:
    names = [m.name for m in axes_of(sweep.spec)]
    for record in sweep.records:
        values = [value_of(record, n) for n in names]
        yield {
            "trial": record.trial,
            "number": record.number,
            "state": record.state,
            "scores": [(v if v is not None else "", "-" if v is None else wording.number(v)) for v in values],
            "epochs": record.epochs,
            "seconds": round(seconds_between(record.started_at, record.ended_at), 1),
            "settings": wording.settings(record.parameters),
            "reason": record.reason,
            "again": f"{record.replicate_of} with seed {record.seed}" if record.is_replicate else "",
        }


def _caption(sweep: SweepResults, record: TrialRecord) -> str:
    values = [(m.name, value_of(record, m.name)) for m in axes_of(sweep.spec)]
    known = ", ".join(f"{name} {wording.number(v)}" for name, v in values if v is not None)
    return f"{record.trial}: {known or record.state.lower()}; {wording.settings(record.parameters)}"


def _replicates(sweep: SweepResults, leaders: Sequence[TrialRecord]) -> Iterator[dict[str, str]]:
    metric = sweep.spec.metric.name
    seeds = spreads(sweep.records, metric=metric)
    same = set(ties(leaders, sweep.records, metric=metric))
    for record in leaders:
        if (spread := seeds.get(record.trial)) is not None:
            deviation = f" ± {wording.number(spread.deviation)}" if spread.num_seeds > 1 else ""
            yield {
                "trial": record.trial,
                "own": wording.number(value_of(record, metric) or 0.0),
                "mean": f"{wording.number(spread.mean)}{deviation}",
                "num_seeds": str(spread.num_seeds),
                "verdict": f"cannot be told apart from {leaders[0].trial}" if record.trial in same else "",
            }


def _failures(sweep: SweepResults) -> list[dict[str, Any]]:
    groups: dict[str, list[TrialRecord]] = {}
    for record in sweep.records:
        if record.failed:
            groups.setdefault(record.reason or "no reason was recorded", []).append(record)
    return [
        {
            "reason": reason,
            "trials": ", ".join(r.trial for r in group),
            "count": len(group),
            "settings": wording.settings(group[0].parameters),
            "error": "\n".join((group[0].error or "").strip().splitlines()[-_ERROR_LINES:]),
        }
        for reason, group in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]


def _cost_rows(cost: Cost) -> Iterator[tuple[str, str]]:
    yield "the sweep was busy for", wording.duration(cost.busy_s)
    yield "trial time, added up", wording.duration(cost.trial_s)
    yield f"{cost.device} hours", wording.number(round(cost.device_hours, 4))
    if cost.overhead is not None:
        yield "spent on training", f"{wording.duration(cost.training_s)} ({1 - cost.overhead:.0%} of trial time)"
        yield "overhead: starting, loading, publishing", f"{cost.overhead:.0%} of trial time"
    for state, (number, seconds) in sorted(cost.by_state.items()):
        yield f"{state.lower()} trials", f"{number}, {wording.duration(seconds)}"
    if cost.all_epochs > cost.epochs:
        saved = 1 - cost.epochs / cost.all_epochs
        yield "epochs trained", f"{cost.epochs:,} of {cost.all_epochs:,}; early stopping saved {saved:.0%}"


def _space(sweep: SweepResults) -> Iterator[tuple[str, str, str]]:
    varied = set(searched(sweep))
    for path, cases in sweep.spec.parameters.items():
        for case in cases:
            when = " and ".join(f"{k} is {' or '.join(map(str, v))}" for k, v in case.when.items())
            yield path, _range(case), when or ("" if path in varied else "the same in every trial")


def _range(case: ParameterCase) -> str:
    if case.values is not None:
        return ", ".join(map(shown, case.values))
    if case.min is None or case.max is None:
        return shown(case.value)
    kind = " on a log scale" if case.is_log else ""
    step = f" in steps of {shown(case.q)}" if case.q is not None else ""
    return f"{shown(case.min)} to {shown(case.max)}{kind}{step}"


def _what_is_missing(sweep: SweepResults, charts: dict[str, Chart], album: Album) -> Iterator[str]:
    if not sweep.records:
        yield "The sweep has no trial yet."
    unfinished = sum(not r.ended for r in sweep.records)
    if unfinished:
        yield f"{unfinished} trial{'s have' if unfinished > 1 else ' has'} not ended yet; this is how things stood."
    if album.missing:
        yield f"No picture was found for {wording.some(album.missing, most=6)}."
    if album.left_out:
        yield f"To keep this file small, the pictures of {wording.some(album.left_out, most=6)} are left out."
    without = [r.trial for r in sweep.records if r.ended and not r.curve]
    if without:
        yield f"No learning curve was recorded for {wording.some(without, most=6)}."


def embedded(charts: Mapping[str, Chart], album: Album, captions: Mapping[str, str]) -> str:
    """Serialize the script's data as JSON in which no `<` can end the element that holds it."""
    data = {
        "figures": {name: c.figure for name, c in charts.items() if c.figure is not None},
        "pictures": album.shown,
        "files": album.files,
        "captions": captions,
    }
    return serialized(data)


def serialized(data: dict[str, Any]) -> str:
    """Data as JSON in which no `<` can end the element that holds it."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


@cache
def _plotly_script() -> str:
    """Plotly's script, compressed and as text; the page unpacks it, which makes the file three megabytes smaller.

    Only the first of the kinds of charts in its list is registered: bars, to which scatter is always added. Setting up
    the others, maps and 3D among them, would take half of the time in which the page opens, and none is drawn here.
    """
    content = files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    content = _KINDS.sub(rb"\1", content)
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def part(name: str) -> str:
    """The text of a file of the folder `template`."""
    return files("hoir_ray.report").joinpath("template", name).read_text(encoding="utf-8")
