"""Whole sweeps on the terminal: a storage root's table, comparisons, and what was copied or removed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from hoir_ray import wording
from hoir_ray.cli.terminal.console import (
    console,
    errors,
    print_json,
    print_table,
    relative_path,
    styled,
    sweep_address,
    warn,
)

if TYPE_CHECKING:
    from hoir_ray.results.management.comparison import Comparison
    from hoir_ray.results.management.contents import Contents
    from hoir_ray.results.management.copy import Copy
    from hoir_ray.results.management.storage_root import SweepEntry
    from hoir_ray.storage import Storage

MAX_FRONT = 8  # rows of a front
_STYLES = {"running": "cyan", "stopped": "yellow", "finished": "green"}


def print_sweeps(entries: Sequence[SweepEntry], *, storage: Storage, as_json: bool) -> None:
    """Print a row for each sweep of a root, and below them why some cannot be read."""
    if as_json:
        print_json([entry.as_dict() for entry in entries])
        return
    if not entries:
        console.print(f"no sweep in {_shown(storage)}; 'hoir sweep SWEEP.yaml' starts one")
        return
    rows: list[Sequence[str | Text]] = [
        [
            entry.name,
            entry.task or "-",
            Text(entry.state, style=_STYLES.get(entry.state, "red")),
            wording.counts_by_state(entry.trials) or "-",
            "-" if entry.best is None else f"{wording.number(entry.best)} {entry.metric}",
            wording.size(entry.size_bytes),
            _by(entry),
            _local(entry.started_at),
            _local(entry.changed_at),
        ]
        for entry in entries
    ]
    print_table(["sweep", "task", "state", "trials", "best", "size", "by", "started", "changed"], rows)
    for entry in entries:
        for line in entry.problem.splitlines():
            console.print(styled((f"{entry.name}: {line}", "red" if entry.state in ("broken", "newer") else "dim")))
    legible = [e for e in entries if e.state not in ("broken", "newer") and wording.printable(e.name) == e.name]
    for entry in sorted(legible, key=lambda e: e.best is None)[:1]:
        command = "trials" if entry.best is None else "best"
        console.print(f"\nnext: hoir {command} {sweep_address(storage.child(entry.name))}")


def print_serving(address: str, *, needs_token: bool) -> None:
    brings = ", asked for with ?token= and the token" if needs_token else ""
    errors.print(f"the sweeps are at {address}{brings}; Ctrl-C ends it")


def _by(entry: SweepEntry) -> str:
    if entry.host and not entry.owner.endswith(f"@{entry.host}"):
        return f"{entry.owner} on {entry.host}"
    return entry.owner or "-"


def _local(moment: str | None) -> str:
    """A moment as the clock of this machine shows it."""
    try:
        return datetime.fromisoformat(moment or "").astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return "-"


def print_comparison(comparison: Comparison, *, as_json: bool) -> None:
    """Print the best of each sweep, the settings that differ, and the fronts."""
    from hoir_ray.results.management.comparison import best_header, best_row, front_header, front_row, setting

    if as_json:
        print_json(comparison.as_dict())
        return
    sweeps, metric = comparison.sweeps, comparison.metrics[0].name
    print_table(best_header(comparison), [best_row(comparison, each) for each in sweeps])
    if comparison.others:
        names = ", ".join(each.label for each in comparison.others)
        warn([f"{names} searched for something else; all are measured by the metrics of {sweeps[0].label}"])
    console.print(f"at N %: best {metric} among so many of the trials; unbeaten: of the front, by all other sweeps")
    rows = [front_row(comparison, each, record) for each in sweeps for record in each.front[:MAX_FRONT]]
    if rows:
        console.print()
        print_table(front_header(comparison), rows)
    for each in sweeps:
        if len(each.front) > MAX_FRONT:
            console.print(styled((f"{each.label}: {len(each.front) - MAX_FRONT} more on its front, in --json", "dim")))
    console.print()
    if comparison.settings:
        settings = [[path, *map(setting, values)] for path, values in comparison.settings.items()]
        print_table(["setting", *(each.label for each in sweeps)], settings)
    else:
        console.print("the sweeps have the same settings")


def print_copied(copied: Copy) -> None:
    """Say what was sent, and how the copy is resumed or looked at."""
    from hoir_ray.results.sweep_results import SPEC

    there = f", {copied.equal:,} were there already" if copied.equal else ""
    console.print(
        f"copied to {_shown(copied.storage)}: {copied.sent:,} files, {wording.size(copied.sent_bytes)}{there}"
    )
    if copied.foreign:
        warn([f"left out, because no sweep wrote it: {wording.some(copied.foreign)}"])
    if copied.storage.folder is not None:
        console.print(f"next: hoir sweep {shlex.quote(f'{_shown(copied.storage)}/{SPEC}')}")
    else:
        console.print(f"next: hoir trials {sweep_address(copied.storage)}")


def removal_question(storage: Storage, contents: Contents) -> str:
    """The question before a sweep is removed, with what goes."""
    return wording.printable(
        f"{_shown(storage)}: {len(contents.own):,} files, {wording.size(contents.size_bytes)}, "
        f"{contents.num_trials:,} trials; remove it for good?"
    )


def print_removed(storage: Storage, contents: Contents, *, left: Sequence[str]) -> None:
    """Say what was freed, and what was left because no sweep wrote it."""
    console.print(
        f"removed {_shown(storage)}: {len(contents.own):,} files, {wording.size(contents.size_bytes)} are free again"
    )
    if left:
        warn([f"left in {_shown(storage)}, because no sweep wrote it: {wording.some(left)}"])


def _shown(storage: Storage) -> str:
    return storage.uri if storage.folder is None else str(relative_path(storage.folder))
