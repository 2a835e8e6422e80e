"""All sweeps of a folder or bucket in Python and in notebooks."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hoir_ray import storage, wording
from hoir_ray.notebook.results import NotebookSweep
from hoir_ray.results.management.storage_root import StorageRoot, SweepEntry

if TYPE_CHECKING:
    import pandas as pd


class NotebookStorage:
    """Sweeps of a folder or bucket, read anew whenever they are asked for, the one that changed last first.

    Iteration gives a `SweepEntry` for each, `storage["name"]` the sweep as `open_sweep` does, `len` their number.
    """

    def __init__(self, root: StorageRoot) -> None:
        self._root = root

    @property
    def uri(self) -> str:
        """The address that opens the same place again."""
        return self._root.storage.uri

    def __iter__(self) -> Iterator[SweepEntry]:
        return iter(self._root.sweeps())

    def __len__(self) -> int:
        return len(self._root.sweeps())

    def __getitem__(self, name: str) -> NotebookSweep:
        """The sweep of that name.

        Raises:
            RequestError: If there is none, naming the nearest, or it cannot be read.
        """
        return NotebookSweep(self._root.open(name))

    def __contains__(self, name: object) -> bool:
        return any(entry.name == name for entry in self)

    @property
    def table(self) -> pd.DataFrame:
        """A row for each sweep: state, trials by state, best, size in bytes, owner, start and last change."""
        import pandas as pd

        rows = [entry.as_dict() for entry in self]
        return pd.DataFrame(rows).set_index("name") if rows else pd.DataFrame()

    def __repr__(self) -> str:
        return f"<sweeps in {self.uri}>"

    def _repr_html_(self) -> str:
        entries = list(self)
        if not entries:
            return f"<p>no sweep in {html.escape(self.uri)}</p>"
        heads = ("sweep", "task", "state", "trials", "best", "size", "by", "changed")
        head = "".join(f'<th style="text-align: left">{name}</th>' for name in heads)
        rows = "".join(f"<tr>{''.join(map(_cell, _row(entry)))}</tr>" for entry in entries)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def open_storage(uri: str | Path = "hoir-runs", *, endpoint_url: str | None = None) -> NotebookStorage:
    """The sweeps below a folder or `s3://bucket/prefix`.

    Raises:
        RequestError: If the address is not one of the two.
    """
    return NotebookStorage(StorageRoot(storage.open_storage(str(uri), endpoint_url=endpoint_url)))


def _row(entry: SweepEntry) -> tuple[str, ...]:
    best = "" if entry.best is None else f"{entry.best_trial}: {entry.metric} {wording.number(entry.best)}"
    state = f"{entry.state}: {entry.problem}" if entry.problem else entry.state
    trials, size = wording.counts_by_state(entry.trials), wording.size(entry.size_bytes)
    return (
        entry.name,
        entry.task,
        state,
        trials,
        best,
        size,
        entry.owner,
        (entry.changed_at or "")[:16].replace("T", " "),
    )


def _cell(text: str) -> str:
    return f'<td style="text-align: left">{html.escape(wording.printable(text))}</td>'
