"""Commands for a sweep on a cluster: submit, follow, look at and stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hoir_ray.cli.options import (
    Address,
    AddTrials,
    AsJson,
    Endpoint,
    Force,
    MaxShip,
    Overrides,
    SweepFile,
    SweepName,
    size_option,
    typed_command,
)
from hoir_ray.cli.terminal.bars import ByteProgress, StopProgress
from hoir_ray.cli.terminal.console import progress, warn
from hoir_ray.cli.terminal.remote import (
    print_end,
    print_jobs,
    print_left,
    print_status,
    print_stopped,
    print_submitted,
    write,
)

if TYPE_CHECKING:
    from hoir_ray.remote.jobs import Jobs, SweepJob

INTERRUPTED = 130


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
    """Submit a sweep to a Ray cluster, which then runs it by itself; the same command joins it or resumes it.

    This package, the YAML and the files it names go there. Credentials do not: the cluster's machines have their own.

    A cluster behind a token wants RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH here.
    """
    from hoir_ray.spec.load import load_spec
    from hoir_ray.sweep.planning.plan import plan_sweep

    spec, document = load_spec(file, overrides=settings or [])
    plan = plan_sweep(spec, document)
    warn(w for w in plan.warnings if not w.startswith("resources."))  # those are about this machine
    limit = size_option(max_ship)
    progress("reaching the cluster")
    from hoir_ray.remote import access, submission

    jobs = access.connect(address)
    submitted = submission.submit(
        jobs,
        plan,
        document,
        command=typed_command("submit", file, settings, address=address, max_ship=max_ship),
        say=progress,
        show=ByteProgress(),
        add_trials=add_trials,
        force=force,
        any_version=any_version,
        max_ship=limit,
        ship=ship,
    )
    print_submitted(submitted, address=jobs.address)
    if follow:
        raise typer.Exit(_follow(jobs, submitted.job))


def status(sweep: SweepName, address: Address = None, as_json: AsJson = False, endpoint_url: Endpoint = None) -> None:
    """Show a submitted sweep: its driver, its trials, the best so far, and the machines that run them."""
    from hoir_ray.remote.access import connect
    from hoir_ray.remote.jobs import open_results

    job = connect(address).find(sweep)
    print_status(job, open_results([job], endpoint_url=endpoint_url)[0], as_json=as_json)


def logs(
    sweep: SweepName,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Until it ends, and exit with its exit code. Ctrl-C only stops looking."),
    ] = False,
    address: Address = None,
) -> None:
    """Print what a submitted sweep has printed."""
    from hoir_ray.remote.access import connect

    jobs = connect(address)
    job = jobs.find(sweep)
    if follow:
        raise typer.Exit(_follow(jobs, job))
    write(jobs.logs(job))


def _follow(jobs: Jobs, job: SweepJob) -> int:
    """Look on until the sweep ends, or until Ctrl-C, which it does not hear."""
    try:
        ended = jobs.follow(job, write=write)
    except KeyboardInterrupt:
        print_left(job, address=jobs.address)
        return INTERRUPTED
    print_end(ended)
    return ended.exit_code


def stop(sweep: SweepName, address: Address = None) -> None:
    """Stop a submitted sweep in order: its trials save their state, and the same 'hoir submit' resumes it."""
    from hoir_ray.remote.access import connect

    jobs = connect(address)
    job = jobs.find(sweep)
    ended = jobs.stop(job, show=StopProgress(sweep))
    print_stopped(ended, was_live=job.is_live)


def list_sweeps(address: Address = None, as_json: AsJson = False, endpoint_url: Endpoint = None) -> None:
    """List the sweeps that a cluster knows: state, how far they are, since when and where they are kept."""
    from hoir_ray.remote.access import connect
    from hoir_ray.remote.jobs import open_results

    jobs = connect(address).newest()
    print_jobs(list(zip(jobs, open_results(jobs, endpoint_url=endpoint_url), strict=True)), as_json=as_json)
