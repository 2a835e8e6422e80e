"""The command line: parse, one call, print. Heavy imports wait inside the commands that need them."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hoir_ray import output, output_jobs
from hoir_ray.errors import HoirError, RequestError, StorageError

if TYPE_CHECKING:
    from hoir_ray.registry import OpenedSweep
    from hoir_ray.sweep.driver import Driver
    from hoir_ray.sweep.jobs import Jobs, SweepJob

INTERRUPTED = 130
SOME_FAILED = 3

app = typer.Typer(
    name="hoir",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find the best small network for a picture, a caption book or a folder of images.\n\n"
    "A sweep YAML goes in; the best networks, and the pictures to judge them by, come out. "
    "Start with [bold]hoir sweep sweeps/quickstart.yaml[/bold].",
    epilog="Exit codes: 0 done, 1 the work failed, 2 the request was wrong, 3 some trials failed, 4 storage, "
    "130 interrupted (the same command goes on).",
)

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep YAML.", show_default=False)]
SweepPlace = Annotated[
    str,
    typer.Argument(metavar="SWEEP", help="A name under ./hoir-runs, a folder, or an s3:// URI.", show_default=False),
]
PackFolder = Annotated[Path, typer.Argument(metavar="PACK", help="A model pack's folder.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override one value, such as budget.max_trials=4. Repeatable."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Where = Annotated[
    str | None, typer.Option("--where", help="Only trials for which this holds: 'num_parameters <= 30000'.")
]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint-url", help="Of an S3-compatible server, for s3:// sweeps.", show_default=False)
]

SweepName = Annotated[str, typer.Argument(metavar="SWEEP", help="The sweep's name.", show_default=False)]
Address = Annotated[
    str | None,
    typer.Option(
        help="The cluster's dashboard, such as http://head:8265.",
        show_default="RAY_API_SERVER_ADDRESS, or http://127.0.0.1:8265",
    ),
]
AddTrials = Annotated[int, typer.Option(min=0, help="Trials beyond those the sweep has had.")]
Force = Annotated[bool, typer.Option("--force", help="Take over a lock that another process holds.")]
MaxShip = Annotated[
    str, typer.Option(metavar="SIZE", help="How much data may be copied into storage for machines that lack it.")
]


@app.command()
def sweep(
    file: SweepFile,
    settings: Overrides = None,
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster: auto, or host:port. Without it Ray starts here.")
    ] = None,
    add_trials: AddTrials = 0,
    force: Force = False,
    max_ship: MaxShip = "2GB",
) -> None:
    """Run a sweep; the same command again goes on where it stopped.

    Ctrl-C once stops in order and keeps everything; twice stops at once.
    """
    from hoir_ray.spec import load_spec
    from hoir_ray.sweep.plan import plan_sweep

    spec, document = load_spec(file, overrides=settings or [])
    plan = plan_sweep(spec, document)
    output.warn(plan.warnings)
    output.progress("starting Ray")
    from hoir_ray.sweep.live import watcher
    from hoir_ray.sweep.run import run_sweep

    with watcher() as watch:
        opened, driver = run_sweep(
            plan,
            watch=watch,
            address=address,
            add_trials=add_trials,
            force=force,
            show=output_jobs.ByteProgress(),
            max_ship=_bytes(max_ship),
        )
    command = os.environ.get("HOIR_COMMAND") or f"hoir sweep {file}"
    output.print_outcome(opened, stop_reason=driver.stop_reason, command=command)
    if driver.storage_problem:
        from hoir_ray.unsaved import FOLDER

        output.fail(f"{driver.storage_problem}; what was not saved is in ./{FOLDER}, '{command}' saves it")
    raise typer.Exit(_sweep_exit_code(opened, driver))


def _sweep_exit_code(opened: OpenedSweep, driver: Driver) -> int:
    if driver.storage_problem:
        return StorageError.exit_code
    if driver.stop_code:
        return driver.stop_code
    failed = [r for r in opened.records if r.state in ("FAILED", "TIMEOUT", "OOM")]
    if not opened.finished():
        return 1
    return SOME_FAILED if failed else 0


def _bytes(size: str) -> int:
    from hoir_ray.spec import size_bytes

    try:
        return size_bytes(size)
    except ValueError as error:
        raise RequestError(f"--max-ship {size}: {error}") from None


@app.command()
def submit(
    file: SweepFile,
    settings: Overrides = None,
    address: Address = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print what it prints until it ends, and exit with its exit code.")
    ] = False,
    add_trials: AddTrials = 0,
    force: Force = False,
    max_ship: MaxShip = "2GB",
    ship: Annotated[
        bool,
        typer.Option("--ship/--no-ship", help="Copy the data into storage; or it is there already, at the same path."),
    ] = True,
    any_version: Annotated[
        bool, typer.Option("--any-version", help="Go on where the cluster runs another Ray or Python.")
    ] = False,
) -> None:
    """Hand a sweep to a Ray cluster, which then runs it by itself; the same again joins it or goes on with it.

    This package, the YAML and the files it names go there. Credentials do not: the cluster's machines have their own.

    A cluster behind a token wants RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH here.
    """
    from hoir_ray.spec import load_spec
    from hoir_ray.sweep.plan import plan_sweep

    spec, document = load_spec(file, overrides=settings or [])
    plan = plan_sweep(spec, document)
    output.warn(w for w in plan.warnings if not w.startswith("resources."))  # those are about this machine
    limit = _bytes(max_ship)
    output.progress("reaching the cluster")
    from hoir_ray.sweep import access, submission

    jobs = access.connect(address)
    submitted = submission.submit(
        jobs,
        plan,
        document,
        command=shlex.join(["hoir", "submit", str(file), *(f"--set={s}" for s in settings or [])]),
        say=output.progress,
        show=output_jobs.ByteProgress(),
        add_trials=add_trials,
        force=force,
        any_version=any_version,
        max_ship=limit,
        ship=ship,
    )
    output_jobs.print_submitted(submitted, address=jobs.address)
    if follow:
        raise typer.Exit(_follow(jobs, submitted.job))


@app.command()
def status(sweep: SweepName, address: Address = None, as_json: AsJson = False) -> None:
    """Tell how a submitted sweep is doing: its driver, its trials, the best so far, and what runs where."""
    from hoir_ray.sweep.access import connect
    from hoir_ray.sweep.jobs import open_results

    job = connect(address).find(sweep)
    output_jobs.print_status(job, open_results([job])[0], as_json=as_json)


@app.command()
def logs(
    sweep: SweepName,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Until it ends, and exit with its exit code. Ctrl-C only stops looking."),
    ] = False,
    address: Address = None,
) -> None:
    """Print what a submitted sweep has printed."""
    from hoir_ray.sweep.access import connect

    jobs = connect(address)
    job = jobs.find(sweep)
    if follow:
        raise typer.Exit(_follow(jobs, job))
    output_jobs.write(jobs.logs(job))


def _follow(jobs: Jobs, job: SweepJob) -> int:
    """Look on until the sweep ends, or until Ctrl-C, which it does not hear."""
    try:
        ended = jobs.follow(job, write=output_jobs.write)
    except KeyboardInterrupt:
        output_jobs.print_left(job)
        return INTERRUPTED
    output_jobs.print_end(ended)
    return ended.exit_code


@app.command()
def stop(sweep: SweepName, address: Address = None) -> None:
    """Stop a submitted sweep in order: its trials save what they have, and the same 'hoir submit' goes on."""
    from hoir_ray.sweep.access import connect

    jobs = connect(address)
    job = jobs.find(sweep)
    ended = jobs.stop(job, show=output_jobs.StopProgress(sweep))
    output_jobs.print_stopped(ended, was_live=job.is_live)


@app.command(name="list")
def list_sweeps(address: Address = None, as_json: AsJson = False) -> None:
    """List the sweeps that a cluster knows: state, how far they are, since when and where they are kept."""
    from hoir_ray.sweep.access import connect
    from hoir_ray.sweep.jobs import open_results

    jobs = connect(address).newest()
    output_jobs.print_jobs(list(zip(jobs, open_results(jobs), strict=True)), as_json=as_json)


@app.command()
def validate(
    file: SweepFile,
    settings: Overrides = None,
    build: Annotated[
        bool, typer.Option("--build", help="Also load the data, and build and run the smallest and largest network.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a sweep YAML without starting anything: paths, types, ranges, conditions, network sizes."""
    from hoir_ray.spec import load_spec
    from hoir_ray.sweep.plan import plan_sweep
    from hoir_ray.sweep.warm_start import look_ahead

    spec, document = load_spec(file, overrides=settings or [])
    plan = plan_sweep(spec, document)
    carried = look_ahead(plan.spec, plan.space, document=document)
    measured = None
    if build:
        output.progress("loading the data and building two networks")
        from hoir_ray.sweep.rehearsal import rehearse

        measured = rehearse(plan)
    output.print_plan(plan, carried=carried, measured=measured, file=file, as_json=as_json)


@app.command()
def train(
    task: Annotated[str, typer.Argument(metavar="TASK", help="One of 'hoir tasks'.", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[A.B=C]...", help="Config values: data.image=photo.jpg network.hidden.width=32."),
    ] = None,
    more_settings: Overrides = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder for the model pack.", show_default="hoir-runs/train/TASK-TIME")
    ] = None,
    tracker: Annotated[
        list[str] | None, typer.Option("--tracker", help="tensorboard, jsonl, ...; repeatable.", show_default=False)
    ] = None,
) -> None:
    """Train one network, without a sweep and without Ray, and leave its model pack."""
    from hoir_ray.single import train_one

    pack, fit = train_one(
        task, [*(settings or []), *(more_settings or [])], to=to, trackers=tracker or [], show=output.EpochBar()
    )
    output.print_fit(pack, fit)


@app.command()
def trials(sweep: SweepPlace, where: Where = None, as_json: AsJson = False, endpoint_url: Endpoint = None) -> None:
    """List a sweep's trials: state, settings, best metrics, and why each ended."""
    from hoir_ray.registry import open_sweep

    opened = open_sweep(sweep, endpoint_url=endpoint_url)
    output.print_trials(opened, where=opened.condition(where), as_json=as_json)


@app.command()
def explain(
    sweep: SweepPlace,
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="Such as t0012.", show_default=False)],
    as_json: AsJson = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Tell a trial's story: its settings, its curve, what happened to it and why it ended as it did."""
    from hoir_ray.registry import open_sweep

    opened = open_sweep(sweep, endpoint_url=endpoint_url)
    output.print_story(opened.trial(trial), opened.spec, as_json=as_json)


@app.command()
def sync(sweep: SweepPlace, endpoint_url: Endpoint = None) -> None:
    """Send to W&B what could not be sent while the sweep ran."""
    from hoir_ray.registry import locate_sweep
    from hoir_ray.syncing import sync_sweep

    output.print_sent(sync_sweep(locate_sweep(sweep, endpoint_url=endpoint_url)))


@app.command()
def best(
    sweep: SweepPlace,
    pareto: Annotated[bool, typer.Option("--pareto", help="All that no other trial beats in every metric.")] = False,
    where: Where = None,
    top: Annotated[int, typer.Option(min=1, help="How many to show.")] = 5,
    as_json: AsJson = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Show the best trials of a sweep, by their best epoch."""
    from hoir_ray.registry import open_sweep

    opened = open_sweep(sweep, endpoint_url=endpoint_url)
    output.print_best(opened, pareto=pareto, where=opened.condition(where), top=top, as_json=as_json)


@app.command()
def pull(
    sweep: SweepPlace,
    to: Annotated[Path, typer.Option("--to", help="Folder to make; must not be in use.", show_default=False)],
    trial: Annotated[str | None, typer.Option(help="A trial's name.", show_default="the best one")] = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Bring a model pack here, its hashes checked."""
    from hoir_ray.registry import open_sweep
    from hoir_ray.registry import pull as pull_pack

    record = pull_pack(open_sweep(sweep, endpoint_url=endpoint_url), to=to, trial=trial)
    output.print_pulled(record, to)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def render(
    context: typer.Context,
    pack: PackFolder,
    out: Annotated[
        Path,
        typer.Option("--out", help="Picture: .png .jpg, or .gif .webp that move.", show_default=False),
    ],
) -> None:
    """Draw what a network has learned, at any size.

    Further flags are the task's own, and 'hoir tasks' lists them: image takes --size 1024x768; neighborhood
    --input photo.jpg --num-frames 12 --alpha 0.75; text_to_image --caption "a cat"; random_interpolation --input noise.
    """
    from hoir_ray.checkpoint import load_pack
    from hoir_ray.drawing import draw, read_flags

    loaded = load_pack(pack)
    output.print_written(draw(loaded, read_flags(context.args, loaded.task), out=out))


@app.command()
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
    from hoir_ray.registry import open_sweep
    from hoir_ray.report import watch_report, write_report

    if watch:
        watch_report(
            lambda: open_sweep(sweep, endpoint_url=endpoint_url), out=out, port=port, show=output.print_watching
        )
    else:
        output.print_report(write_report(open_sweep(sweep, endpoint_url=endpoint_url), out))


@app.command()
def dashboard(
    sweep: SweepPlace,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes a free one.")] = 0,
    endpoint_url: Endpoint = None,
) -> None:
    """Look at a sweep in Optuna's dashboard, on this machine alone."""
    from hoir_ray.registry import open_sweep
    from hoir_ray.sweep.dashboard import serve_dashboard

    serve_dashboard(open_sweep(sweep, endpoint_url=endpoint_url), port=port, show=output.print_dashboard)


@app.command()
def evaluate(
    pack: PackFolder,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[data.X=Y]...", help="Other data to evaluate on, such as data.image=x.jpg."),
    ] = None,
    image: Annotated[str | None, typer.Option(help="Short for data.image=...", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model pack on its own data, or on other data."""
    from hoir_ray.checkpoint import load_pack
    from hoir_ray.drawing import measure

    data = [*(settings or []), *([f"data.image={image}"] if image is not None else [])]
    output.print_metrics(measure(load_pack(pack), data), as_json=as_json)


@app.command()
def tasks(as_json: AsJson = False) -> None:
    """List the tasks, their data settings and their flags of 'hoir render'."""
    from hoir_ray.tasks import load_task, task_names

    output.print_tasks([load_task(name) for name in task_names()], as_json=as_json)


@app.command()
def doctor(
    storage: Annotated[str | None, typer.Option(help="Also try this storage: a folder or s3://bucket/prefix.")] = None,
    endpoint_url: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Look whether this machine is ready: packages, devices, disk, Ray, storage."""
    from hoir_ray.health import examine

    findings = examine(storage=storage, endpoint_url=endpoint_url)
    output.print_findings(findings, as_json=as_json)
    raise typer.Exit(1 if any(not f.ok for f in findings) else 0)


def main() -> None:
    """Entry point of the `hoir` command: errors become one line on stderr and an exit code."""
    code: Any = 0
    try:
        code = app(standalone_mode=False)
    except HoirError as error:
        output.fail(str(error))
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        output.fail("interrupted")
        code = INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        code = 1
    except Exception as error:
        code = output.fail_unexpectedly(error)
    sys.exit(code if isinstance(code, int) else 0)
