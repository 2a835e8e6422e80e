"""Whole sweeps on the terminal: a storage root's table, comparisons, and what was copied or removed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from hoir_ray import wording
from hoir_ray.cli.terminal.console import console, errors, print_json, print_table, styled

if TYPE_CHECKING:
    from hoir_ray.results.comparison import Comparison
    from hoir_ray.results.storage_root import SweepEntry
    from hoir_ray.storage import StoredObject

_STYLES = {"running": "cyan", "stopped": "yellow", "finished": "green"}


def print_sweeps(entries: Sequence[SweepEntry], *, storage: str, as_json: bool) -> None:
    """Print a row for each sweep, and below them why some cannot be read."""
    if as_json:
        print_json([entry.as_dict() for entry in entries])
        return
    if not entries:
        console.print(f"no sweep in {storage}; 'hoir sweep SWEEP.yaml' starts one")
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
    place = "" if storage == "hoir-runs" else f"{storage.rstrip('/')}/"
    console.print(f"\nnext: hoir best {shlex.quote(place + entries[0].name)}")


def print_serving(address: str, *, needs_token: bool) -> None:
    brings = ", asked for with ?token= and the token" if needs_token else ""
    errors.print(f"the sweeps are at {address}{brings}; Ctrl-C ends it")


def print_compared(comparison: Comparison, *, as_json: bool) -> None:
    """Print what each sweep found, and the settings in which they differ."""
    from hoir_ray.results.comparison import SHARES
    from hoir_ray.results.metrics import metrics_of

    metrics = comparison.metrics
    if as_json:
        print_json({"sweeps": [c.as_dict(metrics) for c in comparison.sweeps], "settings": dict(comparison.settings)})
        return
    rows: list[Sequence[str | Text]] = []
    for each in comparison.sweeps:
        known = metrics_of(each.best) if each.best else {}
        rows.append(
            [
                each.label,
                str(len(each.sweep.records)),
                each.best.trial if each.best else "-",
                *(_number(known.get(m.name)) for m in metrics),
                *(_number(value) for value in each.after[:-1]),
                str(each.front),
            ]
        )
    first = metrics[0].name
    shares = [f"{first} after {share:.0%}" for share in SHARES[:-1]]
    print_table(["sweep", "trials", "best", *(m.name for m in metrics), *shares, "on the front"], rows)
    names = " and ".join(m.name for m in metrics)
    console.print(f"on the front: trials that no other of all these sweeps beats in {names}")
    if comparison.settings:
        console.print()
        settings = [[path, *map(_setting, values)] for path, values in comparison.settings.items()]
        print_table(["setting", *(c.label for c in comparison.sweeps)], settings)


def print_to_remove(uri: str, objects: Sequence[StoredObject]) -> None:
    errors.print(styled(f"{uri} has {_amount(objects)}"))


def print_removed(uri: str, objects: Sequence[StoredObject]) -> None:
    console.print(styled(f"removed {uri}: {_amount(objects)} freed"))


def print_copied(sent_bytes: int, uri: str, to: str) -> None:
    console.print(styled(f"copied to {uri}: {wording.size(sent_bytes)} sent"))
    console.print(styled(f"next: hoir best {shlex.quote(to)}"))


def _amount(objects: Sequence[StoredObject]) -> str:
    return f"{len(objects):,} files, {wording.size(sum(o.size_bytes for o in objects))}"


def _number(value: float | None) -> str:
    return "-" if value is None else wording.number(value)


def _setting(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or "-"
    return json.dumps(value).replace('"', "")


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
