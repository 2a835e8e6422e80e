"""Commands about this machine and what is installed: `hoir tasks`, `hoir doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hoir_ray.cli.options import AsJson, Endpoint
from hoir_ray.cli.terminal.machine import print_findings, print_tasks

if TYPE_CHECKING:
    pass


def tasks(as_json: AsJson = False) -> None:
    """List the tasks, their data settings and their flags of 'hoir render'."""
    from hoir_ray.tasks import load_task, task_names

    print_tasks([load_task(name) for name in task_names()], as_json=as_json)


def doctor(
    storage: Annotated[str | None, typer.Option(help="Also try this storage: a folder or s3://bucket/prefix.")] = None,
    endpoint_url: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Look whether this machine is ready: packages, devices, disk, Ray, storage."""
    from hoir_ray.cluster.doctor import examine

    findings = examine(storage=storage, endpoint_url=endpoint_url)
    print_findings(findings, as_json=as_json)
    raise typer.Exit(1 if any(not f.ok for f in findings) else 0)
