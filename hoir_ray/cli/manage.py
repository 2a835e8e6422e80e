"""Commands over whole sweeps: `hoir remove`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hoir_ray.cli.options import Endpoint, SweepPlace
from hoir_ray.cli.terminal.bars import ByteProgress
from hoir_ray.cli.terminal.console import fail
from hoir_ray.cli.terminal.sweeps import print_removed, removal_question
from hoir_ray.errors import RequestError

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def remove(sweep: SweepPlace, yes: Yes = False, endpoint_url: Endpoint = None) -> None:
    """Delete a sweep and everything in it: trials, models, pictures. It asks first; a running one is refused.

    Example: hoir remove quickstart
    """
    from hoir_ray.results.management.contents import contents_of, refuse_running
    from hoir_ray.results.management.remove import ADVICE, remove_sweep
    from hoir_ray.results.sweep_results import locate_sweep

    storage = locate_sweep(sweep, endpoint_url=endpoint_url)
    contents = contents_of(storage)
    refuse_running(storage, advice=ADVICE)
    if not yes:
        if not sys.stdin.isatty():
            raise RequestError(f"{storage.uri}: is removed for good, and nobody can be asked here; add --yes")
        if not typer.confirm(removal_question(storage, contents), err=True):
            fail("nothing was removed")
            raise typer.Exit(1)
    print_removed(storage, contents, left=remove_sweep(storage, contents, show=ByteProgress()))
