"""The command that serves pages over a storage root."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hoir_ray.cli.options import Endpoint
from hoir_ray.cli.terminal.results import print_serving


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
