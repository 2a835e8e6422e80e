"""Commands over whole sweeps and the folders or buckets that hold them: listed, served, compared, copied, removed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from hoir_ray import wording
from hoir_ray.cli.options import AsJson, Endpoint, StorageRootPlace, SweepPlace, SweepPlaces
from hoir_ray.cli.terminal.bars import ByteBar, ByteProgress
from hoir_ray.cli.terminal.console import fail
from hoir_ray.cli.terminal.results import print_report
from hoir_ray.cli.terminal.sweeps import (
    print_comparison,
    print_copied,
    print_removed,
    print_serving,
    print_sweeps,
    removal_question,
)
from hoir_ray.errors import RequestError, StoppedError, WorkError
from hoir_ray.machine.files import try_destination


def sweeps(storage: StorageRootPlace = "hoir-runs", as_json: AsJson = False, endpoint_url: Endpoint = None) -> None:
    """List the sweeps in a folder or bucket: state, trials, best, size, who ran them and when.

    Example: hoir sweeps s3://bucket/sweeps
    """
    from hoir_ray.results.management.storage_root import StorageRoot
    from hoir_ray.storage import open_storage

    root = open_storage(storage, endpoint_url=endpoint_url)
    print_sweeps(StorageRoot(root).sweeps(), storage=root, as_json=as_json)


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


def remove(
    sweep: SweepPlace,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    endpoint_url: Endpoint = None,
) -> None:
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
    with _repeatable():
        left = remove_sweep(storage, contents, show=ByteProgress())
    print_removed(storage, contents, left=left)


def copy(
    sweep: SweepPlace,
    to: Annotated[
        str,
        typer.Argument(
            metavar="TO",
            help="The copy's name under ./hoir-runs, folder or s3:// URI; ends with / to keep the name.",
            show_default=False,
        ),
    ],
    endpoint_url: Endpoint = None,
    to_endpoint_url: Annotated[
        str | None, typer.Option(help="Of another S3-compatible server, for TO.", show_default="--endpoint-url")
    ] = None,
) -> None:
    """Copy a sweep between folders and buckets. The same command resumes; what is there already is not sent again.

    Example: hoir copy quickstart s3://bucket/sweeps/
    """
    from hoir_ray.results.management.copy import copy_sweep, locate_copy
    from hoir_ray.results.sweep_results import locate_sweep

    source = locate_sweep(sweep, endpoint_url=endpoint_url)
    place = locate_copy(to, source, endpoint_url=to_endpoint_url or endpoint_url)
    with _repeatable(), ByteBar() as bar:
        copied = copy_sweep(source, place, show=bar)
    print_copied(copied)
    if copied.damaged:
        raise WorkError(f"damaged in {source.uri}, and copied as they are: {wording.some(copied.damaged)}")


def compare(
    sweeps: SweepPlaces,
    out: Annotated[
        Path | None, typer.Option("--out", help="HTML file to write, with charts and pictures.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Compare sweeps: the best of each, how soon it was found, their fronts, and the settings that differ.

    Example: hoir compare quickstart s3://bucket/sweeps/other --out compare.html
    """
    from hoir_ray.results.management.comparison import compare_sweeps
    from hoir_ray.results.sweep_results import open_sweep

    if out is not None:
        try_destination(out, source="--out")
    comparison = compare_sweeps({s: open_sweep(s, endpoint_url=endpoint_url) for s in sweeps})
    print_comparison(comparison, as_json=as_json)
    if out is not None:
        from hoir_ray.report.comparison import write_comparison

        print_report(write_comparison(comparison, out), beside_json=as_json)


@contextlib.contextmanager
def _repeatable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedError("interrupted; the same command does the rest") from None
