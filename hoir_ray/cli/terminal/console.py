"""The terminal: one console for results, one for errors, and the tables and JSON that every command prints."""

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

if TYPE_CHECKING:
    pass


for _name in ("stdout", "stderr"):  # closed by whoever started us: Python then has none
    if getattr(sys, _name) is None:
        setattr(sys, _name, open(os.devnull, "w"))  # noqa: SIM115, PTH123  # until the process ends

console = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 200)


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
    """Print what is being done, before something that takes seconds."""
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


def print_pairs(rows: Mapping[str, str]) -> None:
    width = max((len(k) for k in rows), default=0)
    for key, value in rows.items():
        console.print(f"  {key:<{width}}  {escape(value)}")


def relative_path(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _finite(value: Any) -> Any:
    """NaN and infinities as null: JSON has no word for them."""
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
