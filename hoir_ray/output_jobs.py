"""What the commands print about sweeps on a cluster: where they run, how far they are, what to type next."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.text import Text

from hoir_ray import wording
from hoir_ray.errors import HoirError
from hoir_ray.output import console, errors, fail, print_json, print_table, progress

if TYPE_CHECKING:
    from hoir_ray.registry import OpenedSweep
    from hoir_ray.sweep.jobs import SweepJob
    from hoir_ray.sweep.submission import Submitted

_STATE_STYLES = {"PENDING": "dim", "RUNNING": "cyan", "SUCCEEDED": "green", "STOPPED": "yellow", "FAILED": "red"}


class ByteProgress:
    """How far a file is read or stored, said when that takes more than a moment."""

    def __init__(self) -> None:
        self._what, self._said_at = "", 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._said_at = what, now
        elif now - self._said_at < (1.0 if errors.is_terminal else 10.0):
            return
        elif done < total:
            self._said_at = now
            progress(f"{what}: {wording.size(done)} of {wording.size(total)}")


def write(text: str) -> None:
    """Somebody else's output, as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def print_submitted(submitted: Submitted, *, address: str) -> None:
    """What became of it, and what to type next."""
    job = submitted.job
    if submitted.joined:
        since = f" since {_local(job.started_at)}" if job.started_at else ""
        console.print(f"[bold]{job.sweep}[/bold] is {job.state.lower()} there already{since}, started by {job.owner}")
        if submitted.other_settings:
            console.print(
                "it keeps the budget, resources and the like that it was started with; to change them: "
                f"hoir stop {job.sweep}, then submit again"
            )
    else:
        console.print(f"[bold]{job.sweep}[/bold] is submitted to {escape(address)} as {job.submission_id}")
        console.print("it runs there without this machine from now on")
    console.print(f"next: hoir logs -f {job.sweep}, hoir status {job.sweep}, hoir stop {job.sweep}")
    server = f" --endpoint-url {job.endpoint_url}" if job.endpoint_url else ""
    console.print(f"results: hoir best {escape(_place(job) + server)}")


def print_jobs(jobs: Sequence[tuple[SweepJob, OpenedSweep | HoirError]], *, as_json: bool) -> None:
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
        rows.append([job.sweep, state, *_how_far(opened), _local(job.started_at), job.owner, _place(job)])
    print_table(["sweep", "state", "ended", "of", "since", "by", "storage"], rows)
    for _, opened in jobs:
        if isinstance(opened, HoirError):
            console.print(f"[dim]'?': {escape(str(opened))}[/dim]")


def print_status(job: SweepJob, opened: OpenedSweep | HoirError, *, as_json: bool) -> None:
    """Ray's word on the driver, the ledger's on the trials."""
    if as_json:
        print_json(job_facts(job, opened))
        return
    style = _STATE_STYLES[job.state]
    console.print(f"[bold]{job.sweep}[/bold]  [{style}]{job.state}[/{style}]  {_duration(job)}, by {escape(job.owner)}")
    if job.state == "FAILED":
        for line in _why(job):
            console.print(f"  [red]{escape(line)}[/red]")
    console.print(f"  storage  {escape(_place(job))}")
    if isinstance(opened, HoirError):
        console.print(f"  trials   not known here: {escape(str(opened))}")
        return
    ended, asked = _how_far(opened)
    counts = Counter(r.state.lower() for r in opened.records)
    console.print(
        f"  trials   {ended} of {asked} ended: {', '.join(f'{n} {s}' for s, n in sorted(counts.items())) or '-'}"
    )
    leaders, metric = opened.finished(), opened.spec.metric.name
    if leaders:
        best = leaders[0]
        value = wording.number((best.best or {})[metric])
        console.print(f"  best     {best.trial}: {metric} {value}, {escape(wording.settings(best.parameters))}")
    for record in opened.records:
        if record.state == "RUNNING":
            value = f", {metric} {wording.number(record.curve[-1][metric])}" if record.curve else ""
            console.print(f"  running  {record.trial} on {escape(record.node or '?')}: epoch {record.epochs}{value}")


class StopProgress:
    """That a sweep is still stopping, said at the start and then every ten seconds."""

    def __init__(self, sweep: str) -> None:
        self._sweep, self._said_at_s = sweep, -10.0

    def __call__(self, elapsed_s: float) -> None:
        if elapsed_s - self._said_at_s >= 10:
            so_far = f", for {wording.duration(elapsed_s)} now" if self._said_at_s >= 0 else ""
            self._said_at_s = elapsed_s
            progress(f"{self._sweep} is saving what it has{so_far}")


def print_stopped(job: SweepJob, *, was_live: bool) -> None:
    if not was_live:
        console.print(f"[bold]{job.sweep}[/bold] was not running: {job.state}")
    elif job.state == "STOPPED":
        console.print(f"[bold]{job.sweep}[/bold] has stopped; the same 'hoir submit' goes on with it")
    else:
        console.print(f"[bold]{job.sweep}[/bold] had ended by itself: {job.state}")


def print_left(job: SweepJob) -> None:
    """After a log that was followed until Ctrl-C."""
    errors.print(f"\n{job.sweep} goes on; to look again: hoir logs -f {job.sweep}, to end it: hoir stop {job.sweep}")


def print_end(job: SweepJob) -> None:
    """After a log that was followed to its end."""
    if job.state == "FAILED" and job.driver_exit_code is None:
        for line in _why(job):
            fail(line)
    errors.print(f"[dim]{job.sweep}: {job.state}, {_duration(job)}[/dim]")


def job_facts(job: SweepJob, opened: OpenedSweep | HoirError) -> dict[str, Any]:
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
        "storage": _place(job),
        "endpoint_url": job.endpoint_url,
    }
    if isinstance(opened, HoirError):
        return {**facts, "problem": str(opened)}
    leaders = opened.finished()
    running = [r for r in opened.records if r.state == "RUNNING"]
    return {
        **facts,
        "asked": opened.spec.budget.max_trials,
        "trials": dict(Counter(r.state for r in opened.records)),
        "best": {"trial": leaders[0].trial, "metrics": leaders[0].best} if leaders else None,
        "running": [{"trial": r.trial, "node": r.node, "epochs": r.epochs} for r in running],
    }


def _how_far(opened: OpenedSweep | HoirError) -> tuple[str, str]:
    if isinstance(opened, HoirError):
        return "?", "?"
    asked = opened.spec.budget.max_trials
    return str(sum(r.ended for r in opened.records)), str(asked) if asked else "-"


def _why(job: SweepJob) -> list[str]:
    """The errors in the log's end that Ray keeps with a job that failed, or else its last line."""
    lines = [line.strip() for line in job.message.splitlines() if line.strip()]
    return [line.removeprefix("error: ") for line in lines if line.startswith("error: ")] or lines[-1:]


def _place(job: SweepJob) -> str:
    return f"{job.storage}/{job.sweep}"


def _local(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment else "-"


def _duration(job: SweepJob) -> str:
    if job.started_at is None:
        return "not started"
    end = job.ended_at or datetime.now(UTC)
    for_ = wording.duration((end - job.started_at).total_seconds())
    return f"for {for_}" if job.is_live else f"after {for_}, at {_local(job.ended_at)}"
