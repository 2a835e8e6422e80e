"""Tasks and this machine: the listings of `hoir tasks` and `hoir doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hoir_ray.cluster.doctor import Finding
    from hoir_ray.tasks.contract import Task
from hoir_ray.cli.terminal.console import console, print_json, styled


def print_tasks(tasks: Sequence[Task[Any]], *, as_json: bool) -> None:
    """Print each task with its data settings and its flags of `hoir render`."""
    from hoir_ray.tasks.contract import flag_names

    rows = [
        {
            "task": task.name,
            "summary": task.summary,
            "data": [f"data.{name}" for name in _data_fields(task)],
            "metrics": sorted(task.metrics),
            "render": flag_names(task),
        }
        for task in tasks
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        console.print(styled((str(row["task"]), "bold"), f"  {row['summary']}"))
        for key in ("data", "metrics", "render"):
            console.print(f"  {key:<8} {', '.join(row[key])}")


def print_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        print_json([vars(f) for f in findings])
        return
    for finding in findings:
        mark = ("ok  ", "green") if finding.ok else ("bad ", "red")
        console.print(styled(mark, f" {finding.what:<20} {finding.detail}"))


def _data_fields(task: Task[Any]) -> list[str]:
    data: Any = task.config.model_fields["data"].annotation
    return list(data.model_fields)
