"""A sweep from Python, as a notebook starts it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hoir_ray.notebook.results import NotebookSweep
from hoir_ray.spec.document import Document, dump_document, parse_document
from hoir_ray.spec.load import build_spec, load_spec
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.sweep import run as sweep_run
from hoir_ray.sweep.event_lines import EventLines
from hoir_ray.sweep.planning.plan import plan_sweep
from hoir_ray.wording import printable


def run_sweep(
    spec: SweepSpec | Mapping[str, Any] | str | Path, *, address: str | None = None, add_trials: int = 0
) -> NotebookSweep:
    """Run a sweep, or resume it, with a line for each event below the cell.

    Args:
        address: A running Ray cluster, `auto` or `host:port`; without it Ray starts here.
        add_trials: Trials beyond those that the sweep has had so far.

    Raises:
        SpecError: As `hoir validate` would say it.
    """
    plan = plan_sweep(*_read(spec))
    for warning in plan.warnings:
        warnings.warn(warning, stacklevel=3)
    opened, _ = sweep_run.run_sweep(
        plan,
        watch=lambda driver, cluster: EventLines(driver, cluster, out=sys.stdout),
        address=address,
        add_trials=add_trials,
        say=lambda line: print(printable(line), flush=True),  # noqa: T201
    )
    return NotebookSweep(opened)


def _read(spec: SweepSpec | Mapping[str, Any] | str | Path) -> tuple[SweepSpec, Document | None]:
    if isinstance(spec, SweepSpec):
        return spec, None
    if isinstance(spec, Mapping):
        document = parse_document(dump_document(dict(spec)), name="spec")
        return build_spec(document), document
    return load_spec(spec)
