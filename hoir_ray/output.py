"""What the commands print: tables for people, JSON for programs, one line for an error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from hoir_ray import wording

if TYPE_CHECKING:
    from hoir_ray.expression import Condition
    from hoir_ray.health import Finding
    from hoir_ray.ledger import TrialRecord
    from hoir_ray.registry import OpenedSweep
    from hoir_ray.spec import SweepSpec
    from hoir_ray.sweep.plan import Plan
    from hoir_ray.sweep.warm_start import Carried
    from hoir_ray.task import Task
    from hoir_ray.training.loop import Epoch, Fit

console = Console(soft_wrap=True, highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)


def fail(message: str) -> None:
    """An error that the user can act on, on stderr."""
    for line in message.splitlines() or ["unknown error"]:
        errors.print(f"[bold red]error:[/bold red] {escape(line)}")


def fail_unexpectedly(error: Exception) -> int:
    """An error that is ours: one line, and the traceback for those who set HOIR_TRACEBACK=1. Returns the exit code."""
    show = getattr(error, "show", None)
    if show is not None and hasattr(
        error, "exit_code"
    ):  # the command line parser's own, which knows how to show itself
        show()
        return int(error.exit_code)
    if os.environ.get("HOIR_TRACEBACK"):
        errors.print_exception()
    fail(f"{type(error).__name__}: {error}; this is a bug, HOIR_TRACEBACK=1 shows where")
    return 1


def warn(messages: Iterable[str]) -> None:
    for message in messages:
        errors.print(f"[yellow]warning:[/yellow] {escape(message)}")


def progress(message: str) -> None:
    """What is going on, before something that takes seconds."""
    errors.print(f"[dim]{escape(message)} ...[/dim]")


def print_json(value: object) -> None:
    print(json.dumps(_finite(value), indent=2))  # noqa: T201


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Columns as wide as their longest cell; rich's own table takes a second per thousand rows."""
    table = [[Text(heading, style="bold") for heading in headings], *rows]
    texts = [[cell if isinstance(cell, Text) else Text(cell.replace("\n", " ")) for cell in row] for row in table]
    widths = [max(cell_len(cell.plain) for cell in column) for column in zip(*texts, strict=True)]
    for row in texts:
        for cell, width in zip(row[:-1], widths, strict=False):
            cell.align("left", width + 2)
    console.print(Text("\n").join(Text.assemble(*row) for row in texts))


def print_plan(
    plan: Plan, *, carried: Carried, measured: dict[str, dict[str, float]] | None, file: Path, as_json: bool
) -> None:
    """What a checked sweep amounts to."""
    spec = plan.spec
    facts: dict[str, Any] = {
        "sweep": spec.name,
        "task": spec.task,
        "method": spec.method,
        "metrics": [m.model_dump() for m in spec.metrics],
        "parameters": sorted({d.path for d in plan.space.dimensions}),
        "smallest_network": plan.smallest.num_parameters,
        "largest_network": plan.largest.num_parameters,
        "grid_size": plan.grid_size,
        "max_trials": spec.budget.max_trials,
        "wall_clock_s": spec.budget.wall_clock,
        "storage": spec.storage.uri,
        "warm_start": {
            "points": len(carried.points),
            "observed": len(carried.observed),
            "left_out": list(carried.left_out),
        },
        "warnings": list(plan.warnings),
        "measured": measured,
    }
    if as_json:
        print_json(facts)
        return
    warn([*plan.warnings, *(f"warm_start: {line}" for line in carried.left_out)])
    console.print(f"[green]{file} is a valid sweep[/green]")
    goals = ", ".join(f"{m.goal} {m.name}" for m in spec.metrics)
    budget = [f"{spec.budget.max_trials} trials"] if spec.budget.max_trials else []
    budget += [wording.duration(spec.budget.wall_clock)] if spec.budget.wall_clock else []
    searched = sorted({d.path for d in plan.space.dimensions if len(d.corners()) > 1})
    rows = {
        "sweep": f"{spec.name}, task {spec.task}",
        "search": f"{spec.method}: {goals}",
        "searched": ", ".join(map(wording.short_name, searched)),
        "networks": f"{plan.smallest.num_parameters:,} to {plan.largest.num_parameters:,} parameters",
        "budget": " or ".join(budget),
        "storage": spec.storage.uri,
    }
    if plan.grid_size is not None:
        rows["grid"] = f"{plan.grid_size:,} points"
    if spec.warm_start is not None:
        evidence = f", {len(carried.observed)} results as evidence" if spec.warm_start.mode == "observe" else ""
        rows["warm start"] = f"{len(carried.points)} points of {spec.warm_start.source} tried first{evidence}"
    for name, numbers in (measured or {}).items():
        rows[name] = f"built, {numbers['num_parameters']:,} parameters, first step {numbers['step_ms']:.0f} ms"
    _print_pairs(rows)


def print_trials(opened: OpenedSweep, *, where: Condition | None, as_json: bool) -> None:
    """Every trial in the order of creation."""
    from hoir_ray.registry import table_rows

    records = opened.records if where is None else [r for r in opened.records if r.best and where.holds(r.best)]
    if as_json:
        print_json(table_rows(records))
        return
    metrics = [m.name for m in opened.spec.metrics]
    rows: list[Sequence[str | Text]] = []
    for record in records:
        best = record.best or {}
        values = [wording.number(best[m]) if m in best else "-" for m in metrics]
        state = Text(record.state, style=wording.STATE_STYLES.get(record.state, "red"))
        rows.append(
            [record.trial, state, str(record.epochs), *values, wording.settings(record.parameters), record.reason]
        )
    print_table(["trial", "state", "epochs", *metrics, "settings", "reason"], rows)


def print_best(opened: OpenedSweep, *, pareto: bool, where: Condition | None, top: int, as_json: bool) -> None:
    """The leaderboard, or the Pareto front."""
    from hoir_ray.errors import RequestError
    from hoir_ray.registry import table_rows

    leaders = opened.front(where) if pareto else opened.finished(where)
    if not leaders:
        condition = f" for which {where.text}" if where else ""
        raise RequestError(f"sweep '{opened.spec.name}' has no finished trial{condition} yet")
    shown = leaders if pareto else leaders[:top]
    if as_json:
        print_json(table_rows(shown))
        return
    _print_leaders(opened, shown)
    console.print(f"\nnext: hoir pull {escape(_place(opened))} --trial {shown[0].trial} --to {shown[0].trial}-model")


def print_outcome(opened: OpenedSweep, *, stop_reason: str | None, command: str) -> None:
    """The end of a sweep: the leaderboard, what went wrong, the best picture, and what to type next."""
    from collections import Counter

    leaders = opened.finished()
    counts = Counter(r.state for r in opened.records)
    console.print()
    if leaders:
        _print_leaders(opened, leaders[:5])
        console.print()
    summary = ", ".join(f"{n} {state.lower()}" for state, n in sorted(counts.items())) or "no trials"
    console.print(f"[bold]{opened.spec.name}[/bold]: {len(opened.records)} trials: {summary}")
    causes = Counter(r.reason for r in opened.records if r.state in ("FAILED", "TIMEOUT", "OOM"))
    for cause, count in causes.most_common(5):
        console.print(f"[red]{count} x {escape(cause)}[/red]")
    if stop_reason is not None:
        console.print(f"[yellow]stopped: {escape(stop_reason)}[/yellow]")
        if any(not r.ended for r in opened.records):
            console.print(f"go on with: {escape(command)}")
    if not leaders:
        return
    best, place = leaders[0], _place(opened)
    if not opened.storage.uri.startswith("s3://"):
        console.print(
            f"best picture: {escape(str(_relative(Path(opened.storage.uri, 'trials', best.trial, 'render.png'))))}"
        )
    console.print(f"next: hoir pull {escape(place)} --to {opened.spec.name}-model")
    console.print(f"then: hoir render {opened.spec.name}-model --out {opened.spec.name}.png")


def print_story(record: TrialRecord, spec: SweepSpec, *, as_json: bool) -> None:
    """All that is known of one trial."""
    from hoir_ray.story import tell

    if as_json:
        print_json(record.model_dump(mode="json"))
        return
    for line in tell(record, spec):
        console.print(escape(line))


def print_sent(num_runs: int) -> None:
    console.print(f"sent {num_runs} run{'s' if num_runs != 1 else ''} to W&B" if num_runs else "nothing left to send")


def print_fit(pack: Path, fit: Fit) -> None:
    """What one training came to."""
    stopped = " (stopped early)" if fit.stopped_early else ""
    console.print(f"best epoch {fit.best_epoch} of {fit.epochs}{stopped}")
    print_metrics(fit.best_metrics, as_json=False)
    console.print(f"model pack: {pack}")
    console.print(f"next: hoir render {pack} --out picture.png")


def print_pulled(record: TrialRecord, to: Path) -> None:
    console.print(f"pulled {record.trial} to {to}: {record.reason}")
    console.print(f"next: hoir render {to} --out picture.png")


def print_written(written: tuple[Path, tuple[int, int, int]]) -> None:
    out, (frames, height, width) = written
    many = f", {frames} frames" if frames > 1 else ""
    console.print(f"wrote {out}: {width} x {height} pixels{many}")


def print_report(out: Path) -> None:
    console.print(f"wrote {escape(str(out))}: {out.stat().st_size / 1e6:.1f} MB; open it in a browser")


def print_watching(address: str) -> None:
    errors.print(f"the report is at {address} and follows the sweep; Ctrl-C ends it")


def print_dashboard(address: str) -> None:
    errors.print(f"Optuna's dashboard is at {address} and shows the sweep as it was just now; Ctrl-C ends it")


def print_metrics(metrics: Mapping[str, float], *, as_json: bool) -> None:
    if as_json:
        print_json(dict(metrics))
    else:
        _print_pairs({name: wording.number(value) for name, value in metrics.items()})


def print_tasks(tasks: Sequence[Task[Any]], *, as_json: bool) -> None:
    """Each task with its data settings and its flags of `hoir render`."""
    rows = [
        {
            "task": task.name,
            "summary": task.summary,
            "data": [f"data.{name}" for name in _data_fields(task)],
            "metrics": sorted(task.metrics),
            "render": [f"--{name.replace('_', '-')}" for name in task.render_options.model_fields],
        }
        for task in tasks
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        console.print(f"[bold]{row['task']}[/bold]  {row['summary']}")
        for key in ("data", "metrics", "render"):
            console.print(f"  {key:<8} {', '.join(row[key])}")


def print_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        print_json([vars(f) for f in findings])
        return
    for finding in findings:
        mark = "[green]ok[/green]  " if finding.ok else "[red]bad[/red] "
        console.print(f"{mark} {finding.what:<20} {escape(finding.detail)}")


class EpochBar:
    """Progress of one training: a bar on a screen, a line per tenth of the epochs in a log."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._bar: Any = None

    def __call__(self, epoch: Epoch, max_epochs: int) -> None:
        shown = "  ".join(f"{k} {wording.number(v)}" for k, v in epoch.metrics.items() if k.startswith("val_"))
        if not errors.is_terminal:
            if epoch.epoch in (1, max_epochs) or epoch.epoch % max(1, max_epochs // 10) == 0:
                errors.print(f"epoch {epoch.epoch}/{max_epochs}  {shown}")
            return
        if self._progress is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
            self._progress = Progress(*columns, console=errors)
            self._bar = self._progress.add_task("", total=max_epochs)
            self._progress.start()
        self._progress.update(self._bar, completed=epoch.epoch, description=shown)
        if epoch.epoch >= max_epochs:
            self._progress.stop()


def _print_leaders(opened: OpenedSweep, leaders: Sequence[TrialRecord]) -> None:
    from hoir_ray.ranking import knee, metrics_of, spreads, ties

    names = list(dict.fromkeys([*(m.name for m in opened.spec.metrics), "num_parameters"]))
    seeds = {name: spreads(opened.records, metric=name) for name in names[: len(opened.spec.metrics)]}
    bend = knee(opened.front(), metrics=opened.spec.metrics)
    seeds.pop("num_parameters", None)  # no seed changes it
    over = [f"{name} over seeds" for name, known in seeds.items() if known]
    rows: list[Sequence[str | Text]] = []
    for place, record in enumerate(leaders, start=1):
        best = metrics_of(record)
        values = [wording.number(best[m]) if m in best else "-" for m in names]
        values += [wording.spread(known.get(record.trial)) for known in seeds.values() if known]
        epoch = wording.number(best.get("epoch", 0))
        name = f"{record.trial} knee" if bend is not None and record.trial == bend.trial else record.trial
        rows.append([str(place), name, *values, epoch, wording.settings(record.parameters)])
    print_table(["", "trial", *names, *over, "epoch", "settings"], rows)
    same = ties(leaders, opened.records, metric=names[0])
    if same:
        console.print(f"{leaders[0].trial} and {', '.join(same)} cannot be told apart by {names[0]} over their seeds")


def _print_pairs(rows: Mapping[str, str]) -> None:
    width = max((len(k) for k in rows), default=0)
    for key, value in rows.items():
        console.print(f"  {key:<{width}}  {escape(value)}")


def _place(opened: OpenedSweep) -> str:
    """What to type for this sweep, from where the user stands."""
    uri = opened.storage.uri
    if uri.startswith("s3://"):
        return uri
    if Path(uri) == Path("hoir-runs", opened.spec.name).absolute():
        return opened.spec.name
    return str(_relative(Path(uri)))


def _relative(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _data_fields(task: Task[Any]) -> list[str]:
    data: Any = task.config.model_fields["data"].annotation
    return list(data.model_fields)


def _finite(value: Any) -> Any:
    """NaN and infinities as null: JSON has no word for them."""
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


if not sys.stdout.isatty():
    console.width = 200
