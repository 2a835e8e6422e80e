"""Commands over a sweep's results: tables, stories, reports and downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hoir_ray.cli.completion import complete_trial
from hoir_ray.cli.options import AsJson, Endpoint, SweepPlace, TrialName, Where
from hoir_ray.cli.terminal.codecs import print_comparison
from hoir_ray.cli.terminal.console import progress
from hoir_ray.cli.terminal.results import (
    print_best,
    print_dashboard,
    print_pulled,
    print_report,
    print_sent,
    print_story,
    print_trials,
    print_watching,
)
from hoir_ray.machine.files import try_destination


def trials(sweep: SweepPlace, where: Where = None, as_json: AsJson = False, endpoint_url: Endpoint = None) -> None:
    """List a sweep's trials: state, settings, best metrics, and why each ended."""
    from hoir_ray.results.sweep_results import open_sweep

    opened = open_sweep(sweep, endpoint_url=endpoint_url)
    print_trials(opened, where=opened.condition(where), as_json=as_json)


def best(
    sweep: SweepPlace,
    pareto: Annotated[bool, typer.Option("--pareto", help="All that no other trial beats in every metric.")] = False,
    where: Where = None,
    top: Annotated[int, typer.Option(min=1, help="How many to show.")] = 5,
    as_json: AsJson = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Show the best trials of a sweep, by their best epoch."""
    from hoir_ray.results.sweep_results import open_sweep

    opened = open_sweep(sweep, endpoint_url=endpoint_url)
    print_best(opened, pareto=pareto, where=opened.condition(where), top=top, as_json=as_json)


def explain(
    sweep: SweepPlace,
    trial: TrialName,
    as_json: AsJson = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Show a trial's history: its settings, its curve, each attempt, and why it ended."""
    from hoir_ray.results.sweep_results import open_sweep

    opened = open_sweep(sweep, endpoint_url=endpoint_url)
    print_story(opened.trial(trial), opened.spec, as_json=as_json)


def report(
    sweep: SweepPlace,
    out: Annotated[Path, typer.Option("--out", help="HTML file to write.")] = Path("report.html"),
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep it fresh while the sweep runs, and show it on this machine.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page with --watch; 0 takes a free one.")] = 0,
    endpoint_url: Endpoint = None,
) -> None:
    """Write one HTML file about a sweep: its front, pictures, curves, failures and cost. It opens offline."""
    from hoir_ray.report import watch_report, write_report
    from hoir_ray.results.sweep_results import open_sweep

    try_destination(out, source="--out")
    if watch:
        watch_report(lambda: open_sweep(sweep, endpoint_url=endpoint_url), out=out, port=port, show=print_watching)
    else:
        print_report(write_report(open_sweep(sweep, endpoint_url=endpoint_url), out))


def compare_codecs(
    network: Annotated[
        str,
        typer.Argument(
            metavar="PACK|SWEEP",
            help="A model pack's folder, its .hoir file, or a sweep: a name, a folder or an s3:// URI.",
            show_default=False,
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[data.X=Y]...", help="The picture, where it has moved: data.image=x.jpg."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="HTML file to write, with curves and pictures.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Compare networks as files with JPEG, WebP, AVIF and JPEG 2000 of the same picture: curves, and equal bytes.

    Example: hoir compare-codecs quickstart --out codecs.html
    """
    from hoir_ray.packs.compare import compare, files_of_pack, files_of_sweep, is_pack

    if out is not None:
        try_destination(out, source="--out")
    if is_pack(Path(network)):
        files, name = files_of_pack(Path(network), settings or [], say=progress), Path(network).name
    else:
        from hoir_ray.results.sweep_results import open_sweep
        from hoir_ray.storage import open_storage
        from hoir_ray.sweep.planning.plan import plan_sweep
        from hoir_ray.tasks.localize import localize

        opened = open_sweep(network, endpoint_url=endpoint_url)
        plan, name, inputs = plan_sweep(opened.spec), opened.spec.name, opened.spec.inputs
        where = opened.spec.storage
        root = open_storage(where.uri, endpoint_url=endpoint_url or where.endpoint_url)
        files = files_of_sweep(
            opened, settings or [], config=lambda r: localize(plan.config(r.parameters), inputs, root)
        )
    found = compare(files, name=name, say=progress)
    print_comparison(found, as_json=as_json)
    if out is not None:
        from hoir_ray.report.codecs import write_comparison

        print_report(write_comparison(found, out), beside_json=as_json)


def dashboard(
    sweep: SweepPlace,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes a free one.")] = 0,
    endpoint_url: Endpoint = None,
) -> None:
    """Look at a sweep in Optuna's dashboard, on this machine alone."""
    from hoir_ray.results.sweep_results import open_sweep
    from hoir_ray.search.dashboard import serve_dashboard

    serve_dashboard(open_sweep(sweep, endpoint_url=endpoint_url), port=port, show=print_dashboard)


def pull(
    sweep: SweepPlace,
    to: Annotated[
        Path,
        typer.Option("--to", help="Folder, or file ending in .hoir, to make; must not be in use.", show_default=False),
    ],
    trial: Annotated[
        str | None, typer.Option(help="A trial's name.", show_default="the best one", autocompletion=complete_trial)
    ] = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Bring a model pack here, its hashes checked."""
    from hoir_ray.results.pull import pull as pull_pack
    from hoir_ray.results.sweep_results import open_sweep

    record = pull_pack(open_sweep(sweep, endpoint_url=endpoint_url), to=to, trial=trial)
    print_pulled(record, to)


def sync(sweep: SweepPlace, endpoint_url: Endpoint = None) -> None:
    """Send to W&B what could not be sent while the sweep ran."""
    from hoir_ray.results.sweep_results import locate_sweep
    from hoir_ray.trackers.wandb.sync import sync_sweep

    print_sent(sync_sweep(locate_sweep(sweep, endpoint_url=endpoint_url)))
