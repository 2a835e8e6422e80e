"""Commands that run a sweep or check one: `hoir sweep`, `hoir validate`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hoir_ray.cli.completion import complete_sweep
from hoir_ray.cli.options import (
    AddTrials,
    AsJson,
    Endpoint,
    Force,
    MaxShip,
    Overrides,
    Promote,
    SweepFile,
    size_option,
    typed_command,
)
from hoir_ray.cli.terminal.bars import ByteProgress
from hoir_ray.cli.terminal.console import errors, fail, progress, warn
from hoir_ray.cli.terminal.plan import print_plan, print_portfolio, print_started
from hoir_ray.cli.terminal.results import print_beside, print_outcome
from hoir_ray.errors import RequestError, StorageError
from hoir_ray.machine.files import reason, replacing, try_destination

if TYPE_CHECKING:
    from hoir_ray.results.sweep_results import SweepResults
    from hoir_ray.sweep.driving.driver import Driver

SOME_FAILED = 3


def sweep(
    file: SweepFile,
    settings: Overrides = None,
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster: auto, or host:port. Without it Ray starts here.")
    ] = None,
    add_trials: AddTrials = 0,
    promote: Promote = None,
    force: Force = False,
    max_ship: MaxShip = "2GB",
) -> None:
    """Run a sweep; the same command resumes it where it stopped.

    Ctrl-C once stops in order and keeps everything; twice stops at once.
    """
    from hoir_ray.spec.load import load_spec
    from hoir_ray.sweep.planning.plan import plan_sweep

    spec, document = load_spec(file, overrides=settings or [])
    plan = plan_sweep(spec, document)
    warn(plan.warnings)
    progress("starting Ray")
    from hoir_ray.cli.terminal.live import watcher
    from hoir_ray.sweep.run import run_sweep

    with watcher() as watch:
        opened, driver = run_sweep(
            plan,
            watch=watch,
            address=address,
            add_trials=add_trials,
            promote=dict.fromkeys(promote or []),
            force=force,
            show=ByteProgress(),
            say=errors.print,
            max_ship=size_option(max_ship),
        )
    # Typed again, --add-trials would add once more, so there is no hint then; what is promoted is in the ledger.
    typed = None if add_trials else typed_command("sweep", file, settings, address=address, max_ship=max_ship)
    command = os.environ.get("HOIR_COMMAND") or typed
    print_outcome(
        opened,
        stop_reason=driver.stop_reason,
        command=None if driver.has_reached_goal else command,
        is_saved=not driver.storage_problem,
    )
    if not driver.storage_problem:
        print_beside(opened, plan)
    if driver.storage_problem:
        from hoir_ray.results.unsaved import UNSAVED

        saves = f"; this saves it: {command}" if command else ""
        fail(f"{driver.storage_problem}; what was not saved is in ./{UNSAVED}{saves}")
    raise typer.Exit(_sweep_exit_code(opened, driver))


def init(
    picture: Annotated[
        Path,
        typer.Argument(
            metavar="PICTURE", help="A picture, a folder of pictures, or a .parquet of captions.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="The YAML to write.", show_default="NAME.yaml, after it")
    ] = None,
) -> None:
    """Write a first sweep YAML for your data, with size, budget and time that fit this machine: hoir init photo.jpg.

    A picture is for task image, a folder for random_interpolation, captions for text_to_image.
    """
    from hoir_ray.sweep.planning.starter import write_starter

    print_started(write_starter(picture, out=out))


def validate(
    file: SweepFile,
    settings: Overrides = None,
    build: Annotated[
        bool,
        typer.Option(
            "--build", help="Also build the smallest and largest network and run some steps, for the time it takes."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a sweep YAML without starting anything: paths, types, ranges, conditions, data, network sizes, work."""
    from hoir_ray.search.warm_start import gather_warm_start
    from hoir_ray.spec.load import load_spec
    from hoir_ray.sweep.planning.plan import plan_sweep
    from hoir_ray.sweep.planning.workload import read_inputs, workload_of
    from hoir_ray.tasks.inputs import find_inputs

    spec, document = load_spec(file, overrides=settings or [])
    plan = plan_sweep(spec, document)
    find_inputs(plan.spec, plan.task, document, max_bytes=sys.maxsize)  # a missing one is named now, not by a trial
    num_samples = read_inputs(plan)
    warm_start = gather_warm_start(plan.spec, plan.space, document=document, refuse=plan.refuse)
    measured = None
    if build:
        progress("loading the data and building two networks")
        from hoir_ray.sweep.planning.rehearsal import rehearse

        measured = rehearse(plan)
    workload = workload_of(plan, num_samples=num_samples, measured=measured)
    print_plan(plan, warm_start=warm_start, workload=workload, measured=measured, file=file, as_json=as_json)


def learn(
    sweeps: Annotated[
        list[str],
        typer.Argument(
            metavar="SWEEP",
            help="Names, folders or s3:// URIs; the more data sets the better.",
            autocompletion=complete_sweep,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The portfolio's file, for `start_from` of new sweeps.")],
    count: Annotated[int, typer.Option(min=1, max=100, help="Configurations for each size of network.")] = 8,
    endpoint_url: Endpoint = None,
) -> None:
    """Learn a portfolio from sweeps: the few configurations that together lead on all of their data."""
    from hoir_ray.results.sweep_results import open_sweep
    from hoir_ray.search.portfolio.document import dump_portfolio
    from hoir_ray.search.portfolio.learn import SourceSweep, learn_portfolio
    from hoir_ray.spec.space import build_space
    from hoir_ray.tasks import load_task

    try_destination(out, source="--out")
    opened = [open_sweep(s, endpoint_url=endpoint_url) for s in sweeps]
    sources = [SourceSweep(o, build_space(o.spec, load_task(o.spec.task).config)) for o in opened]
    portfolio = learn_portfolio(sources, count=count)
    try:
        with replacing(out) as file:
            file.write(dump_portfolio(portfolio).encode())
    except OSError as error:
        raise RequestError(f"--out {out}: {reason(error)}") from None
    print_portfolio(portfolio, out=out)


def _sweep_exit_code(opened: SweepResults, driver: Driver) -> int:
    if driver.storage_problem:
        return StorageError.exit_code
    if driver.exit_code:
        return driver.exit_code
    failed = [r for r in opened.records if r.failed]
    if not opened.leaderboard():
        return 1
    return SOME_FAILED if failed else 0
