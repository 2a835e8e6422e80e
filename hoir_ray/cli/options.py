"""Arguments and options that several commands share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hoir_ray.cli.completion import complete_sweep, complete_trial
from hoir_ray.errors import RequestError

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep YAML.", show_default=False)]
SweepPlace = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP",
        help="A name under ./hoir-runs, a folder, or an s3:// URI.",
        show_default=False,
        autocompletion=complete_sweep,
    ),
]
SweepPlaces = Annotated[
    list[str],
    typer.Argument(
        metavar="SWEEP",
        help="Names under ./hoir-runs, folders, or s3:// URIs.",
        show_default=False,
        autocompletion=complete_sweep,
    ),
]
TrialName = Annotated[
    str, typer.Argument(metavar="TRIAL", help="Such as t0012.", show_default=False, autocompletion=complete_trial)
]
StorageRootPlace = Annotated[
    str, typer.Argument(metavar="[STORAGE]", help="A folder of sweeps, or s3://bucket/prefix.")
]
PackFolder = Annotated[
    Path, typer.Argument(metavar="PACK", help="A model pack's folder, or its .hoir file.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override one value, such as budget.max_trials=4. Repeatable."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Where = Annotated[
    str | None, typer.Option("--where", help="Only trials for which this holds: 'num_parameters <= 30000'.")
]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint-url", help="Of an S3-compatible server, for s3:// sweeps.", show_default=False)
]
SweepName = Annotated[str, typer.Argument(metavar="SWEEP", help="The sweep's name.", show_default=False)]
Address = Annotated[
    str | None,
    typer.Option(
        help="The cluster's dashboard, such as http://head:8265.",
        show_default="RAY_API_SERVER_ADDRESS, or http://127.0.0.1:8265",
    ),
]
AddTrials = Annotated[int, typer.Option(min=0, help="Trials beyond those the sweep has had.")]
Promote = Annotated[
    list[str] | None,
    typer.Option(
        "--promote",
        metavar="TRIAL",
        help="Take up a trial again that was stopped early, such as t0012. Repeatable.",
        autocompletion=complete_trial,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Take over a lock that another process holds.")]
MAX_SHIP = "2GB"
MaxShip = Annotated[
    str, typer.Option(metavar="SIZE", help="How much data may be copied into storage for machines that lack it.")
]


def typed_command(
    name: str, file: Path, settings: Sequence[str] | None, *, address: str | None = None, max_ship: str = MAX_SHIP
) -> str:
    """The command as it was typed, but for what should happen once, to be typed again in any shell."""
    options = [f"--set={text}" for text in settings or []]
    options += ["--address", address] if address else []
    options += ["--max-ship", max_ship] if max_ship != MAX_SHIP else []
    return shlex.join(["hoir", name, str(file), *options])


def size_option(size: str) -> int:
    from hoir_ray.spec.fields.units import size_bytes

    try:
        return size_bytes(size)
    except ValueError as error:
        raise RequestError(f"--max-ship {size}: {error}") from None
