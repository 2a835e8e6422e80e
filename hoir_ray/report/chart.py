"""A chart as the page and a notebook take it: a Plotly figure as plain values, and the same in words."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hoir_ray import wording
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.record import State, TrialRecord
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.spec.parameters import Scalar

# Okabe and Ito's colours, which stay apart for the colour-blind; each state also has its own mark.
COLOURS: dict[State, str] = {
    "FINISHED": "#009e73",
    "PRUNED": "#e69f00",
    "RUNNING": "#56b4e9",
    "PENDING": "#999999",
    "FAILED": "#d55e00",
    "TIMEOUT": "#cc79a7",
    "OOM": "#a04000",
}
MARKS: dict[State, str] = {
    "FINISHED": "circle",
    "PRUNED": "x-thin-open",
    "RUNNING": "triangle-right",
    "PENDING": "circle-open",
    "FAILED": "cross",
    "TIMEOUT": "square",
    "OOM": "diamond",
}
ACCENT = "#0072b2"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One figure.

    Attributes:
        summary: What it shows, in a sentence or two; also what a screen reader says.
        figure: Plotly's `data` and `layout`, or None when there is nothing to draw, which `summary` then explains.
        header, rows: The same as a table.
    """

    title: str
    summary: str
    figure: dict[str, Any] | None = None
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=tuple)


Draw = Callable[[SweepResults], Chart]


def plain(text: object) -> str:
    """Text that Plotly shows as it is: it would take tags and entities for markup."""
    return html.escape(str(text), quote=False)


def trial_settings(record: TrialRecord) -> str:
    """The trial's settings for a hover label, three to a line."""
    words = [plain(word) for word in wording.settings(record.parameters).split(" ")]
    return "<br>".join(" ".join(words[i : i + 3]) for i in range(0, len(words), 3))


def axis(title: str, *, log: bool = False) -> dict[str, Any]:
    return {"title": {"text": plain(title)}, "type": "log" if log else "linear", "automargin": True}


def spans_decades(values: Sequence[float]) -> bool:
    """Return whether a logarithmic axis shows the values better."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > 10


def searched(sweep: SweepResults) -> list[str]:
    """Paths of the parameters that took more than one value among the trials, in the order of the spec."""
    seen: dict[str, set[str]] = {}
    for record in sweep.records:
        for path, value in record.parameters.items():
            seen.setdefault(path, set()).add(repr(value))
    partial = {p for p in seen if any(p not in r.parameters for r in sweep.records)}
    return [p for p in sweep.spec.parameters if len(seen.get(p, ())) > 1 or p in partial]


def value_of(record: TrialRecord, metric: str) -> float | None:
    """The metric at the trial's best epoch, or None where it has none or it is not a finite number."""
    value = metrics_of(record).get(metric)
    return value if value is not None and abs(value) < float("inf") else None


def shown(value: Scalar) -> str:
    return wording.number(value) if isinstance(value, float) else str(value)


def seconds_between(start: str | None, end: str | None) -> float:
    """Seconds between two times of the ledger; 0 where one is missing."""
    if not start or not end:
        return 0.0
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def counted(counts: Mapping[State, int]) -> str:
    """`3 finished, 21 pruned`."""
    return ", ".join(f"{n} {state.lower()}" for state, n in sorted(counts.items())) or "no trials"
