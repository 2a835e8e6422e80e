"""Commands over whole sweeps and the folders or buckets that hold them: listed, served, compared, copied, removed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from hoir_ray.cli.options import AsJson, Endpoint, StorageRootPlace, SweepPlace
from hoir_ray.cli.terminal.bars import ByteProgress
from hoir_ray.cli.terminal.sweeps import (
    print_compared,
    print_copied,
    print_removed,
    print_serving,
    print_sweeps,
    print_to_remove,
)


def sweeps(storage: StorageRootPlace = "hoir-runs", as_json: AsJson = False, endpoint_url: Endpoint = None) -> None:
    """List the sweeps in a folder or bucket: state, trials, best, size, who ran them and when.

    Example: hoir sweeps s3://bucket/sweeps
    """
    from hoir_ray.results.storage_root import list_sweeps

    print_sweeps(list_sweeps(storage, endpoint_url=endpoint_url), storage=storage, as_json=as_json)


def serve(
    storage: Annotated[str, typer.Option("--storage", help="A folder of sweeps, or s3://bucket/prefix.")] = "hoir-runs",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the pages; 0 takes a free one.")] = 8787,
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback need a token.")] = "127.0.0.1",
    name: Annotated[
        list[str] | None, typer.Option(help="A name or address under which browsers reach it, beside --host.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the word that a browser must bring: http://HOST/?token=WORD.")
    ] = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Serve pages of all sweeps in a folder or bucket: their live reports, trials, pictures and packs.

    They change nothing. Ctrl-C ends it.

    Example: hoir serve --storage s3://bucket/sweeps
    """
    from hoir_ray.serve.server import read_token
    from hoir_ray.serve.server import serve as serve_pages

    token = None if token_file is None else read_token(token_file)
    serve_pages(
        storage, endpoint_url=endpoint_url, host=host, port=port, names=name or (), token=token, show=print_serving
    )


def compare(
    sweep: Annotated[
        list[str],
        typer.Argument(metavar="SWEEP SWEEP...", help="Names under ./hoir-runs, folders, or s3:// URIs."),
    ],
    as_json: AsJson = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Compare sweeps by the first one's metrics: what differs in their settings, and what each found.

    Example: hoir compare quickstart quickstart-wide
    """
    from hoir_ray.results.comparison import compare_sweeps
    from hoir_ray.results.sweep_results import open_sweep

    print_compared(compare_sweeps([open_sweep(s, endpoint_url=endpoint_url) for s in sweep]), as_json=as_json)


def copy(
    sweep: SweepPlace,
    to: Annotated[str, typer.Argument(metavar="TO", help="A name, a folder, or an s3:// URI; nothing may be there.")],
    endpoint_url: Endpoint = None,
    to_endpoint_url: Annotated[
        str | None, typer.Option(help="Of the S3-compatible server to copy to.", show_default="--endpoint-url")
    ] = None,
) -> None:
    """Copy a sweep with everything it has; the same command goes on with a copy that was interrupted.

    Example: hoir copy quickstart s3://bucket/sweeps/quickstart
    """
    from hoir_ray.results.moving import copy_sweep
    from hoir_ray.results.sweep_results import locate_sweep

    source = locate_sweep(sweep, endpoint_url=endpoint_url)
    target = locate_sweep(to, endpoint_url=to_endpoint_url or endpoint_url)
    print_copied(copy_sweep(source, target, show=ByteProgress()), target.uri, to)


def remove(
    sweep: SweepPlace,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Remove a sweep with all its trials and models; one that runs is refused.

    Example: hoir remove quickstart
    """
    from hoir_ray.errors import RequestError
    from hoir_ray.machine.processes import user_and_host
    from hoir_ray.results.moving import contents_of, remove_sweep
    from hoir_ray.results.sweep_results import locate_sweep

    storage = locate_sweep(sweep, endpoint_url=endpoint_url)
    objects = contents_of(storage)
    if not yes:
        print_to_remove(storage.uri, objects)
        if not sys.stdin.isatty():
            command = shlex.join(["hoir", "remove", sweep, "--yes"])
            raise RequestError(f"nobody can be asked here; {command} does not ask")
        if not typer.confirm("Remove it?", err=True):
            raise typer.Exit(1)
    remove_sweep(storage, owner=user_and_host())
    print_removed(storage.uri, objects)
