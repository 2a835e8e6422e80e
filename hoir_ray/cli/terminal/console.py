"""The terminal: one console for results, one for errors, and the tables and JSON that every command prints."""

from __future__ import annotations

import errno
import json
import logging
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from hoir_ray import __version__
from hoir_ray.wording import printable

if TYPE_CHECKING:
    from hoir_ray.storage import Storage


for _name in ("stdout", "stderr"):  # closed by whoever started us: Python then has none
    if getattr(sys, _name) is None:
        setattr(sys, _name, open(os.devnull, "w"))  # noqa: SIM115, PTH123  # until the process ends


class Terminal(Console):
    """A console that takes strings for what they are: nothing in them is markup, and nothing steers the terminal.

    Everything that a command prints goes through here; styles are given by `styled`.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(plain(each) if isinstance(each, (str, Text)) else each for each in objects), **options)


def plain(text: str | Text) -> Text:
    """The one way of foreign text to the terminal: without markup, control characters written out."""
    if isinstance(text, str):
        return Text(printable(text))
    shown = printable(text.plain)
    return text if shown == text.plain else Text(shown, style=text.style)


def styled(*parts: str | tuple[str, str]) -> Text:
    """Text of which some parts have a style, such as `("t0001", "bold")`."""
    return Text.assemble(*(plain(p) if isinstance(p, str) else Text(printable(p[0]), style=p[1]) for p in parts))


console = Terminal(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 200)


errors = Terminal(stderr=True, soft_wrap=True, highlight=False)


def fail(message: str) -> None:
    """An error that the user can act on, on stderr."""
    for line in message.splitlines() or ["unknown error"]:
        errors.print(styled(("error:", "bold red"), " ", line))


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


def fail_at_a_limit(error: Exception) -> int:
    """An input beyond what numbers, text, memory or the file system take: one line. Returns the exit code."""
    if os.environ.get("HOIR_TRACEBACK"):
        errors.print_exception()
    if isinstance(error, OSError):
        named = f"{str(error.filename)[:200]}: " if error.filename is not None else ""
        fail(f"{named}{error.strerror or error}")
        return 2 if error.errno in (errno.ENAMETOOLONG, errno.ENOENT, errno.EISDIR, errno.ENOTDIR) else 1
    if isinstance(error, MemoryError):
        fail("there is not enough memory for what was asked for; ask for less, or for a smaller size")
        return 1
    kinds = {OverflowError: "a number in the input is too large", RecursionError: "the input is nested too deeply"}
    fail(f"{kinds.get(type(error), 'a name or a text in the input is not valid UTF-8')} ({str(error)[:200]})")
    return 2


class WarningLines(logging.Handler):
    """Warnings of the package as lines on stderr, in the way of everything that is printed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        warn(record.getMessage().splitlines())


def warn(messages: Iterable[str]) -> None:
    for message in messages:
        errors.print(styled(("warning:", "yellow"), " ", message))


def progress(message: str) -> None:
    """Print what is being done, before something that takes seconds."""
    errors.print(styled((f"{message} ...", "dim")))


def print_version(is_asked: bool) -> None:
    if is_asked:
        console.print(f"hoir_ray {__version__}")
        raise SystemExit(0)


def print_json(value: object) -> None:
    print(json.dumps(_finite(value), indent=2))  # noqa: T201


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Columns as wide as their longest cell; rich's own table takes a second per thousand rows."""
    table = [[Text(heading, style="bold") for heading in headings], *rows]
    texts = [[plain(cell if isinstance(cell, Text) else cell.replace("\n", " ")) for cell in row] for row in table]
    widths = [max(cell_len(cell.plain) for cell in column) for column in zip(*texts, strict=True)]
    for row in texts:
        for cell, width in zip(row[:-1], widths, strict=False):
            cell.align("left", width + 2)
    console.print(Text("\n").join(Text.assemble(*row) for row in texts))


def print_pairs(rows: Mapping[str, str]) -> None:
    width = max((len(k) for k in rows), default=0)
    for key, value in rows.items():
        console.print(f"  {key:<{width}}  {value}")


def relative_path(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def sweep_address(storage: Storage) -> str:
    """Address of a sweep from the working directory, as it is typed in a shell, with its server where it has one."""
    uri = storage.uri
    if storage.folder is None:
        server = storage.endpoint_url
        return shlex.quote(uri) + (f" --endpoint-url {shlex.quote(server)}" if server else "")
    name, path = storage.folder.name, str(relative_path(storage.folder))
    is_known = storage.folder == Path("hoir-runs", name).absolute() and not Path(name, "spec.yaml").exists()
    if is_known and not name.startswith("-"):
        return shlex.quote(name)
    return shlex.quote(f"./{path}" if "/" not in path or path.startswith("-") else path)


def _finite(value: Any) -> Any:
    """NaN and infinities as null: JSON has no word for them."""
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
