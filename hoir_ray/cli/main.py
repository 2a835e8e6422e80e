"""The command line: the table of commands, and errors as one line and an exit code."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from hoir_ray.cli import machine, manage, packs, remote, results, sweeps
from hoir_ray.cli.terminal.console import WarningLines, fail, fail_at_a_limit, fail_unexpectedly, print_version
from hoir_ray.errors import HoirError
from hoir_ray.machine.interrupt import end_process

INTERRUPTED = 130

app = typer.Typer(
    name="hoir",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find the best small network for a picture, a caption book or a folder of images.\n\n"
    "A sweep YAML goes in; the best networks, and the pictures to judge them by, come out. "
    "Start with [bold]hoir init photo.jpg[/bold].",
    epilog="Exit codes: 0 done, 1 the work failed, 2 the request was wrong, 3 some trials failed, 4 storage, "
    "130 interrupted (the same command resumes).",
)

COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Sweeps": (sweeps.init, sweeps.sweep, sweeps.validate, sweeps.learn),
    "Results": (
        results.sweeps,
        results.trials,
        results.best,
        results.explain,
        results.report,
        results.dashboard,
        results.pull,
        results.sync,
        manage.compare,
        manage.copy,
        manage.remove,
    ),
    "Model packs": (packs.train, packs.render, packs.evaluate, packs.pack, packs.import_checkpoint, packs.export),
    "Clusters": (remote.submit, remote.status, remote.logs, remote.stop, remote.list_sweeps),
    "This machine": (machine.tasks, machine.doctor),
}
NAMES: dict[Callable[..., None], str] = {remote.list_sweeps: "list", packs.import_checkpoint: "import"}
# The flags of `hoir render` are those of the pack's task, known once the pack is loaded.
SETTINGS: dict[Callable[..., None], dict[str, Any]] = {
    packs.render: {"allow_extra_args": True, "ignore_unknown_options": True}
}


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    """Options of `hoir` itself; the app's own help stands above."""


for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(NAMES.get(command), rich_help_panel=panel, context_settings=SETTINGS.get(command))(command)


def main() -> None:
    """Entry point of the `hoir` command: errors become one line on stderr and an exit code."""
    code: Any = 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that its encoding lacks is written out as \\udcff
            stream.reconfigure(errors="backslashreplace")
    logging.getLogger("hoir_ray").addHandler(WarningLines())
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except HoirError as error:
        fail(str(error))
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        fail("interrupted")
        code = INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains when it flushes at its end
        code = 1
    except (OverflowError, UnicodeError, MemoryError, RecursionError, OSError) as error:
        code = fail_at_a_limit(error)
    except Exception as error:
        code = fail_unexpectedly(error)
    end_process(code if isinstance(code, int) else 0)
