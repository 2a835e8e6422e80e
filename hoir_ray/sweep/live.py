"""Watching a sweep in the terminal: a live view on a screen, a line per event in a log."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hoir_ray import wording
from hoir_ray.ledger import TrialRecord, better
from hoir_ray.ranking import ranked
from hoir_ray.sweep.cluster import Cluster
from hoir_ray.sweep.driver import Driver, Listener

STYLES = {"FINISHED": "green", "PRUNED": "yellow", "RUNNING": "cyan", "PENDING": "dim"}


class EventLines:
    """One plain line for each start, end, retry and new best."""

    def __init__(self, driver: Driver, cluster: Cluster, *, out: IO[str]) -> None:
        self._driver, self._out = driver, out
        self._metric = driver.spec.metric
        self._best: float | None = None
        slots = cluster.slots(driver.spec.resources)
        self._say(f"sweep {driver.spec.name}: {slots} trial{'s' if slots > 1 else ''} at a time")

    def changed(self, record: TrialRecord, event: str) -> None:
        if event == "started":
            self._say(f"{record.trial} started: {wording.settings(record.parameters)}")
        elif event in ("ended", "retried"):
            verb = record.state if event == "ended" else "will be tried again"
            self._say(f"{record.trial} {verb}: {record.reason}")
        if event == "ended" and record.state == "FINISHED" and record.best is not None:
            value = record.best[self._metric.name]
            if self._best is None or better(value, self._best, goal=self._metric.goal):
                self._best = value
                self._say(f"{record.trial} is the best so far: {self._metric.name} {wording.number(value)}")

    def close(self) -> None:
        """Nothing is pending."""

    def _say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=self._out, flush=True)


class LiveView:
    """Running trials with their curves, the best so far, and why the last ones ended; fits 80 columns."""

    def __init__(self, driver: Driver, cluster: Cluster, *, console: Console) -> None:
        self._driver, self._metric = driver, driver.spec.metric
        self._slots = cluster.slots(driver.spec.resources)
        self._already = sum(r.ended for r in driver.records.values())
        self._began = time.monotonic()
        self._last: deque[TrialRecord] = deque(maxlen=4)
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=4, transient=True)
        self._live.start()

    def changed(self, record: TrialRecord, event: str) -> None:
        if event in ("ended", "retried"):
            self._last.append(record)

    def close(self) -> None:
        """Leave the screen as it was; the leaderboard follows."""
        self._live.stop()

    def _render(self) -> Group:
        records = list(self._driver.records.values())
        parts: list[RenderableType] = [self._header(records), self._running(records)]
        leaders = ranked(records, spec=self._driver.spec)
        if leaders:
            best = leaders[0]
            assert best.best is not None
            value = wording.number(best.best[self._metric.name])
            parts.append(Text(f"best  {best.trial}  {self._metric.name} {value}", style="bold green"))
            parts.append(Text(f"      {wording.settings(best.parameters)}", style="green"))
        for record in self._last:
            style = STYLES.get(record.state, "red")
            parts.append(Text(f"{record.trial}  {record.state:<8}  {record.reason}", style=style, overflow="ellipsis"))
        if self._driver.stop_reason is not None:
            parts.append(Text(f"stopping: {self._driver.stop_reason}; once more to stop at once", style="bold red"))
        return Group(*parts)

    def _header(self, records: list[TrialRecord]) -> Text:
        counts = Counter(r.state for r in records)
        limit = self._driver.spec.budget.max_trials
        ended = sum(r.ended for r in records)
        shown = "  ".join(f"{n} {state.lower()}" for state, n in sorted(counts.items()))
        elapsed = time.monotonic() - self._began
        left = self._time_left(ended, elapsed)
        total = f"{ended}/{limit}" if limit else str(ended)
        return Text(
            f"{self._driver.spec.name}  {total} trials  {wording.duration(elapsed)}{left}\n{shown}", style="bold"
        )

    def _time_left(self, ended: int, elapsed: float) -> str:
        limits = []
        budget = self._driver.spec.budget
        if budget.max_trials is not None and ended > self._already:
            limits.append(elapsed / (ended - self._already) * max(0, budget.max_trials - ended))
        if budget.wall_clock is not None:
            limits.append(max(0.0, budget.wall_clock - elapsed))
        return f", about {wording.duration(min(limits))} left" if limits else ""

    def _running(self, records: list[TrialRecord]) -> Table:
        table = Table(box=None, pad_edge=False, expand=False, show_header=True, header_style="dim")
        for name in ("trial", "epoch", self._metric.name, "curve", "settings"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        for record in [r for r in records if r.trial in self._driver.running][:12]:
            curve = [row[self._metric.name] for row in record.curve if self._metric.name in row]
            table.add_row(
                record.trial,
                str(record.epochs),
                wording.number(curve[-1]) if curve else "-",
                wording.sparkline(curve),
                wording.settings(record.parameters),
            )
        return table


@contextmanager
def watcher() -> Iterator[Callable[[Driver, Cluster], Watcher]]:
    """Makes the view that fits standard output: live on a screen, a line per event in a file or pipe."""
    watchers: list[Watcher] = []

    def watch(driver: Driver, cluster: Cluster) -> Watcher:
        console = Console()
        watchers.append(
            LiveView(driver, cluster, console=console)
            if console.is_terminal
            else EventLines(driver, cluster, out=sys.stdout)
        )
        return watchers[-1]

    try:
        yield watch
    finally:
        for each in watchers:
            each.close()


class Watcher(Listener, Protocol):
    """A listener that has something to put in order at the end."""

    def close(self) -> None: ...
