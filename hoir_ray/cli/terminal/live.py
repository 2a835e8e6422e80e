"""Watching a sweep in the terminal: a live view on a screen, a line per event in a log."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hoir_ray import wording
from hoir_ray.cli.terminal.console import Terminal, plain, styled
from hoir_ray.cluster.cluster import Cluster
from hoir_ray.results.front import knee
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.record import TrialRecord
from hoir_ray.sweep.driving.board import Listener
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.sweep.event_lines import EventLines, varied_settings

NUM_LEADERS = 6
NUM_LAST = 4


class LiveView:
    """Running trials with their curves, the best so far, and why the last ones ended; fits 80 columns."""

    def __init__(self, driver: Driver, cluster: Cluster, *, console: Console) -> None:
        self._driver, self._metric = driver, driver.spec.epoch_metric
        self._slots = cluster.slots(driver.spec.resources)
        self._already = driver.board.num_ended
        self._began = time.monotonic()
        self._last: deque[TrialRecord] = deque(maxlen=NUM_LAST)
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=4, transient=True)
        self._live.start()

    def changed(self, record: TrialRecord, event: str) -> None:
        if event in ("ended", "retried", "promoted"):
            self._last.append(record)

    def close(self) -> None:
        """Leave the screen as it was; the leaderboard follows."""
        self._live.stop()

    def _render(self) -> Group:
        parts: list[RenderableType] = [self._header(), self._running()]
        if self._driver.board.leaders:
            parts += [Text(), self._best()]
        if self._last:
            parts += [Text(), self._ended()]
        if self._driver.stop_reason is not None:
            parts.append(styled((f"stopping: {self._driver.stop_reason}; once more to stop at once", "bold red")))
        return Group(*parts)

    def _header(self) -> Text:
        counts = self._driver.board.counts
        limit = self._driver.spec.budget.max_trials
        ended = self._driver.board.num_ended
        shown = "  ".join(f"{n} {state.lower()}" for state, n in sorted(counts.items()) if n)
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

    def _best(self) -> Table:
        """The front with its knee, or the best so far."""
        metrics, several = self._driver.spec.metrics, len(self._driver.spec.metrics) > 1
        title = f"front ({len(self._driver.board.leaders)})" if several else "best"
        bend = knee(self._driver.board.leaders, metrics=metrics)
        table = _table(title, *(m.name for m in metrics), "settings")
        for record in self._driver.board.leaders[:NUM_LEADERS] if several else self._driver.board.leaders[:1]:
            mark = " knee" if bend is not None and record.trial == bend.trial else ""
            values = [wording.number(metrics_of(record)[m.name]) for m in metrics]
            table.add_row(plain(f"{record.trial}{mark}"), *values, _settings(record, self._driver), style="green")
        return table

    def _ended(self) -> Table:
        """The last ones that ended, and why, in full: a reason cut off is none."""
        table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        for name in ("ended", "", "why"):
            table.add_column(name, no_wrap=name != "why")
        for record in self._last:
            state = Text(record.state, style=wording.STATE_STYLES.get(record.state, "red"))
            table.add_row(plain(record.trial), state, plain(record.reason))
        return table

    def _running(self) -> Table:
        table = _table("running", "epoch", self._metric.name, "curve", "settings")
        running = (self._driver.records[name] for name in self._driver.running)
        for record in sorted(running, key=lambda r: r.number)[:12]:
            curve = [row[self._metric.name] for row in record.curve if self._metric.name in row]
            table.add_row(
                plain(record.trial),
                str(record.epochs),
                wording.number(curve[-1]) if curve else "-",
                wording.sparkline(curve),
                _settings(record, self._driver),
            )
        return table


def _table(*names: str) -> Table:
    """Make a table whose columns keep their width, but for the last: Rich narrows those that may wrap."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    for name in names:
        table.add_column(name, no_wrap=name != names[-1])
    return table


def _settings(record: TrialRecord, driver: Driver) -> Text:
    """Render a trial's settings in one line, cut off at the screen's edge."""
    return Text(wording.printable(varied_settings(record, driver.space)), no_wrap=True, overflow="ellipsis")


@contextmanager
def watcher() -> Iterator[Callable[[Driver, Cluster], Watcher]]:
    """Makes the view that fits standard output: live on a screen, a line per event in a file or pipe."""
    watchers: list[Watcher] = []

    def watch(driver: Driver, cluster: Cluster) -> Watcher:
        console = Terminal()
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
