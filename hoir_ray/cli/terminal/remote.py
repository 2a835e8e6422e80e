"""Sweeps on a cluster: where they run, how far they are, and the next command to type."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from hoir_ray import wording
from hoir_ray.cli.terminal.console import console, errors, fail, print_json, print_pairs, print_table, styled
from hoir_ray.errors import HoirError
from hoir_ray.wording import printable

if TYPE_CHECKING:
    from hoir_ray.remote.jobs import SweepJob
    from hoir_ray.remote.submission import Submitted
    from hoir_ray.results.sweep_results import SweepResults


_STATE_STYLES = {"PENDING": "dim", "RUNNING": "cyan", "SUCCEEDED": "green", "STOPPED": "yellow", "FAILED": "red"}


def write(text: str) -> None:
    """Somebody else's output, as it is."""
    sys.stdout.write(printable(text))
    sys.stdout.flush()


def print_submitted(submitted: Submitted, *, address: str) -> None:
    """Print the outcome of a submission, and the commands to type next."""
    job = submitted.job
    if submitted.joined:
        since = f" since {_local(job.started_at)}" if job.started_at else ""
        console.print(
            styled((job.sweep, "bold"), f" is {job.state.lower()} there already{since}, started by {job.owner}")
        )
        if submitted.other_settings:
            console.print(
                "it keeps the budget, resources and the like that it was started with; to change them: "
                "stop it, then submit again"
            )
    else:
        console.print(styled((job.sweep, "bold"), f" is submitted to {address} as {job.submission_id}"))
        console.print("it runs there without this machine from now on")
    server = f" --endpoint-url {shlex.quote(job.endpoint_url)}" if job.endpoint_url else ""
    print_pairs(
        {
            "follow it": _typed("logs -f", job, address),
            "look at it": _typed("status", job, address) + server,
            "stop it": _typed("stop", job, address),
            "results": f"hoir best {shlex.quote(_storage_of(job))}{server}",
        }
    )


def print_jobs(jobs: Sequence[tuple[SweepJob, SweepResults | HoirError]], *, as_json: bool) -> None:
    """A row for each sweep that the cluster knows."""
    if as_json:
        print_json([job_facts(job, opened) for job, opened in jobs])
        return
    if not jobs:
        console.print("no sweep has been submitted to this cluster")
        return
    rows: list[Sequence[str | Text]] = []
    for job, opened in jobs:
        state = Text(job.state, style=_STATE_STYLES[job.state])
        rows.append([job.sweep, state, *_how_far(opened), _local(job.started_at), job.owner, _storage_of(job)])
    print_table(["sweep", "state", "ended", "of", "since", "by", "storage"], rows)
    for _, opened in jobs:
        if isinstance(opened, HoirError):
            console.print(styled((f"'?': {opened}", "dim")))


def print_status(job: SweepJob, opened: SweepResults | HoirError, *, as_json: bool) -> None:
    """Ray's word on the driver, the ledger's on the trials."""
    if as_json:
        print_json(job_facts(job, opened))
        return
    style = _STATE_STYLES[job.state]
    console.print(styled((job.sweep, "bold"), "  ", (job.state, style), f"  {_duration(job)}, by {job.owner}"))
    if job.state == "FAILED":
        for line in _why(job):
            console.print(styled((f"  {line}", "red")))
    console.print(f"  storage  {_storage_of(job)}")
    if isinstance(opened, HoirError):
        console.print(f"  trials   not known here: {opened!s}")
        return
    ended, asked = _how_far(opened)
    counts = Counter(r.state.lower() for r in opened.records)
    console.print(
        f"  trials   {ended} of {asked} ended: {', '.join(f'{n} {s}' for s, n in sorted(counts.items())) or '-'}"
    )
    leaders, metric = opened.leaderboard(), opened.spec.metric.name
    if leaders:
        best = leaders[0]
        value = wording.number((best.best or {})[metric])
        console.print(f"  best     {best.trial}: {metric} {value}, {wording.settings(best.parameters)}")
    for record in opened.records:
        if record.state == "RUNNING":
            value = f", {metric} {wording.number(record.curve[-1][metric])}" if record.curve else ""
            console.print(f"  running  {record.trial} on {record.node or '?'}: epoch {record.epochs}{value}")


def print_stopped(job: SweepJob, *, was_live: bool) -> None:
    if not was_live:
        console.print(f"{job.sweep} was not running: {job.state}")
    elif job.state == "STOPPED":
        console.print(f"{job.sweep} has stopped; the same 'hoir submit' resumes it")
    else:
        console.print(f"{job.sweep} had ended by itself: {job.state}")


def print_left(job: SweepJob, *, address: str) -> None:
    """After a log that was followed until Ctrl-C."""
    errors.print(f"\n{job.sweep} continues")
    errors.print(f"  to look again  {_typed('logs -f', job, address)}")
    errors.print(f"  to end it      {_typed('stop', job, address)}")


def print_end(job: SweepJob) -> None:
    """After a log that was followed to its end."""
    if job.state == "FAILED" and job.driver_exit_code is None:
        for line in _why(job):
            fail(line)
    errors.print(styled((f"{job.sweep}: {job.state}, {_duration(job)}", "dim")))


def job_facts(job: SweepJob, opened: SweepResults | HoirError) -> dict[str, Any]:
    """The same as JSON."""
    facts: dict[str, Any] = {
        "sweep": job.sweep,
        "state": job.state,
        "submission_id": job.submission_id,
        "started_at": job.started_at.isoformat() if job.started_at else None,
        "ended_at": job.ended_at.isoformat() if job.ended_at else None,
        "exit_code": None if job.is_live else job.exit_code,
        "message": _why(job) if job.state == "FAILED" else [],
        "owner": job.owner,
        "storage": _storage_of(job),
        "endpoint_url": job.endpoint_url,
    }
    if isinstance(opened, HoirError):
        return {**facts, "problem": str(opened)}
    leaders = opened.leaderboard()
    running = [r for r in opened.records if r.state == "RUNNING"]
    return {
        **facts,
        "asked": opened.spec.budget.max_trials,
        "trials": dict(Counter(r.state for r in opened.records)),
        "best": {"trial": leaders[0].trial, "metrics": leaders[0].best} if leaders else None,
        "running": [{"trial": r.trial, "node": r.node, "epochs": r.epochs} for r in running],
    }


def _how_far(opened: SweepResults | HoirError) -> tuple[str, str]:
    if isinstance(opened, HoirError):
        return "?", "?"
    asked = opened.spec.budget.max_trials
    return str(sum(r.ended for r in opened.records)), str(asked) if asked else "-"


def _why(job: SweepJob) -> list[str]:
    """The errors in the log's end that Ray keeps with a job that failed, or else its last line."""
    lines = [line.strip() for line in job.message.splitlines() if line.strip()]
    return [line.removeprefix("error: ") for line in lines if line.startswith("error: ")] or lines[-1:]


def _typed(command: str, job: SweepJob, address: str) -> str:
    return f"hoir {command} {shlex.quote(job.sweep)} --address {shlex.quote(address)}"


def _storage_of(job: SweepJob) -> str:
    return f"{job.storage}/{job.sweep}"


def _local(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment else "-"


def _duration(job: SweepJob) -> str:
    if job.started_at is None:
        return "not started"
    end = job.ended_at or datetime.now(UTC)
    for_ = wording.duration((end - job.started_at).total_seconds())
    return f"for {for_}" if job.is_live else f"after {for_}, at {_local(job.ended_at)}"
