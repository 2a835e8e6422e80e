"""Completion of names of sweeps and trials with Tab: from folders of this machine alone, and never with an error."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec

import typer

P = ParamSpec("P")
# What needs no quotes in any shell, which evaluate what they get.
_PLAIN_PATH = re.compile(r"~?[A-Za-z0-9._/-]*")
_TRIAL = re.compile(r"(t\d+)\.json")


def _silent(complete: Callable[P, Iterator[str]]) -> Callable[P, list[str]]:
    """Complete nothing where something goes wrong: a shell would print it in the middle of the line."""

    @functools.wraps(complete)
    def completed(*args: P.args, **kwargs: P.kwargs) -> list[str]:
        try:
            return list(complete(*args, **kwargs))
        except Exception:
            return []

    return completed


@_silent
def complete_sweep(incomplete: str) -> Iterator[str]:
    """Names of sweeps under ./hoir-runs, or below the folder that is typed so far."""
    from hoir_ray.results.sweep_results import SPEC
    from hoir_ray.spec.fields.names import is_sweep_name

    typed, slash, start = incomplete.rpartition("/")
    if not _PLAIN_PATH.fullmatch(incomplete):
        return
    root = Path(typed + slash).expanduser() if slash else Path("hoir-runs")
    for folder in sorted(root.iterdir()):
        if folder.name.startswith(start) and is_sweep_name(folder.name) and (folder / SPEC).is_file():
            yield typed + slash + folder.name


@_silent
def complete_trial(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Names of the trials of the sweep that is typed before, or of that of the YAML."""
    from hoir_ray.results.ledger import LEDGER
    from hoir_ray.results.sweep_results import locate_sweep

    # Before an option's value, what stands earlier in the line is not assigned to its arguments yet.
    typed = str(ctx.params.get("sweep") or ctx.params.get("file") or ctx.args[0])
    place = str(Path(typed).expanduser()) if "/" in typed else typed
    if "file" in ctx.params:
        from hoir_ray.spec.load import load_spec

        spec, _ = load_spec(place)
        place = f"{spec.storage.uri}/{spec.name}"
    if place.startswith("s3://") or (folder := locate_sweep(place).folder) is None:
        return
    names = sorted(found[1] for p in (folder / LEDGER).iterdir() if (found := _TRIAL.fullmatch(p.name)))
    yield from (name for name in names if name.startswith(incomplete))
