"""Progress bars of trainings, uploads and waiting."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hoir_ray import wording

if TYPE_CHECKING:
    from hoir_ray.training.loop import Epoch
from hoir_ray.cli.terminal.console import errors, progress


class EpochBar:
    """Progress of one training: a bar on a screen, a line per tenth of the epochs in a log."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._bar: Any = None

    def __call__(self, epoch: Epoch, max_epochs: int) -> None:
        shown = "  ".join(f"{k} {wording.number(v)}" for k, v in epoch.metrics.items() if k.startswith("val_"))
        if not errors.is_terminal:
            if epoch.epoch in (1, max_epochs) or epoch.epoch % max(1, max_epochs // 10) == 0:
                left = epoch.metrics.get("train_time_s", 0.0) * (max_epochs / epoch.epoch - 1)
                note = f"  about {wording.duration(left)} left" if epoch.epoch == 1 and left >= 1 else ""
                errors.print(f"epoch {epoch.epoch}/{max_epochs}  {shown}{note}")
            return
        if self._progress is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
            self._progress = Progress(*columns, console=errors)
            self._bar = self._progress.add_task("", total=max_epochs)
            self._progress.start()
        self._progress.update(self._bar, completed=epoch.epoch, description=shown)
        if epoch.epoch >= max_epochs:
            self._progress.stop()


class ByteProgress:
    """Progress of reading or uploading a file, shown when it takes more than a moment."""

    def __init__(self) -> None:
        self._what, self._said_at = "", 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._said_at = what, now
        elif now - self._said_at < (1.0 if errors.is_terminal else 10.0):
            return
        elif done < total:
            self._said_at = now
            progress(f"{what}: {wording.size(done)} of {wording.size(total)}")


class ByteBar:
    """Progress of a transfer: a bar on a screen, a line every ten seconds in a log."""

    def __init__(self) -> None:
        self._lines = ByteProgress()
        self._progress: Any = None
        self._bar: Any = None

    def __enter__(self) -> ByteBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        if not errors.is_terminal:
            self._lines(what, done, total)
            return
        if self._progress is None:
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._progress = Progress(*columns, TimeRemainingColumn(), console=errors)
            self._bar = self._progress.add_task(what, total=total)
            self._progress.start()
        self._progress.update(self._bar, completed=done, total=total)


class StopProgress:
    """A line at the start and every ten seconds while a sweep stops."""

    def __init__(self, sweep: str) -> None:
        self._sweep, self._said_at_s = sweep, -10.0

    def __call__(self, elapsed_s: float) -> None:
        if elapsed_s - self._said_at_s >= 10:
            so_far = f", for {wording.duration(elapsed_s)} now" if self._said_at_s >= 0 else ""
            self._said_at_s = elapsed_s
            progress(f"{self._sweep} is saving what it has{so_far}")
