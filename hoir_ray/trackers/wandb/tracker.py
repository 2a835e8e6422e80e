"""The tracker: a journal, and one thread that sends it, so that nothing W&B does can hold up a training."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from lightning.pytorch.loggers import Logger
from torch import Tensor

from hoir_ray.config import nest
from hoir_ray.trackers.wandb.access import find_access, import_sdk, remember_outage
from hoir_ray.trackers.wandb.config import Config
from hoir_ray.trackers.wandb.journal import Entry, Journal
from hoir_ray.trackers.wandb.run import OpenRun, shorten

_log = logging.getLogger(__name__)
_told: set[str] = set()

Message = Callable[[OpenRun], None]


def build(
    config: Config,
    *,
    directory: Path,
    sweep: str,
    trial: str,
    run: str,
    parameters: Mapping[str, Any],
) -> WandbTracker:
    """A tracker that starts its run with the first thing it is told, so that only the worker that tells has one.

    Args:
        directory: Where its journal is kept, in a folder `wandb`.
        run: Tells this trial from those of the same name in other sweeps.
        parameters: Dotted paths and values; shown as the run's config, nested.
    """
    return WandbTracker(
        config,
        directory=directory,
        identity={"group": sweep, "name": trial, "job_type": "trial", "id": run_id(sweep, trial, run=run)},
        parameters={**nest(parameters), "sweep": sweep, "trial": trial},
    )


def run_id(sweep: str, trial: str, *, run: str) -> str:
    """Id of a trial's run, the same however often the trial is resumed."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{sweep}-{trial}")[:100]
    return f"{readable}-{hashlib.sha256(f'{run}/{sweep}/{trial}'.encode()).hexdigest()[:12]}"


class WandbTracker:
    """Notes what it is told, and sends it from a thread; `close` waits for that no longer than the configured time."""

    def __init__(
        self,
        config: Config,
        *,
        directory: Path,
        identity: Mapping[str, str],
        parameters: Mapping[str, Any],
    ) -> None:
        self.logger: Logger = _Logger(self, name=identity["group"], version=identity["name"])
        self._config, self._directory = config, directory
        about = {"project": config.project, "entity": config.entity, "tags": list(config.tags), **identity}
        self._journal = Journal(directory / "wandb" / identity["id"], run={**about, "config": dict(parameters)})
        self._messages: SimpleQueue[Message | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="hoir-wandb", daemon=True)
        self._images_noted_at = -float("inf")
        self._held_images: tuple[int, Mapping[str, Tensor]] | None = None
        self._disabled = "disabled" in (config.mode, os.environ.get("WANDB_MODE"))
        self._given_up = False

    def log_config(self, values: Mapping[str, Any]) -> None:
        if not self._disabled:
            self._journal.add_config(values)
            self._send(lambda run: run.send_config(values))

    def log_row(self, epoch: int, metrics: Mapping[str, float]) -> None:
        if not self._disabled and self._journal.add_row(epoch, metrics):
            self._send(lambda run: run.send(Entry(epoch, metrics, {})))

    def log_images(self, images: Mapping[str, Tensor], *, step: int) -> None:
        if self._disabled or step < self._journal.last_epoch:
            return
        if time.monotonic() - self._images_noted_at < self._config.images_every_s:
            self._held_images = step, {name: image.detach().cpu() for name, image in images.items()}
            return
        self._images_noted_at, self._held_images = time.monotonic(), None
        entry = self._journal.add_pictures(step, images)
        self._send(lambda run: run.send(entry))

    def log_summary(self, summary: Mapping[str, Any]) -> None:
        """Log the run about a whole sweep; see `summary_run`."""
        if not self._disabled:
            self._journal.add_summary(summary)
            self._send(lambda run: None)  # a run starts with what its journal holds

    def close(self) -> None:
        """Send what is pending, for no longer than the configured time; the rest waits for `hoir sync`."""
        if self._held_images is not None:
            step, images = self._held_images
            entry = self._journal.add_pictures(step, images)
            self._send(lambda run: run.send(entry))
        if self._thread.is_alive():
            self._messages.put(None)
            self._thread.join(timeout=self._config.finish_timeout_s)
            if self._thread.is_alive():
                self._warn(self._late())
                self._given_up = True
        self._journal.release()

    def _send(self, message: Message) -> None:
        if self._thread.ident is None:
            self._thread.start()
        self._messages.put(message)

    def _work(self) -> None:
        try:
            run = self._start()
            if run is None:
                return
            run.send_journal()
            while (message := self._messages.get()) is not None:
                message(run)
            if not run.finish():
                self._warn("not everything that was sent arrived")
            elif not self._given_up:
                self._journal.remove()
        except TimeoutError:
            self._warn(self._late())
        except Exception as error:
            self._warn(shorten(error))

    def _start(self) -> OpenRun | None:
        timeout_s = self._config.finish_timeout_s
        access = find_access(self._config, timeout_s=min(5.0, timeout_s / 2))
        if access.mode == "offline":
            if access.reason is not None and not access.has_no_key:  # that was said before the first trial
                self._warn(access.reason)
            return None
        try:
            return OpenRun(self._journal, finish_timeout_s=0.6 * timeout_s)  # the rest is for a start to be waited for
        except Exception as error:
            if isinstance(error, import_sdk().errors.CommError):
                remember_outage(shorten(error))
            raise

    def _late(self) -> str:
        return f"not everything was sent within {self._config.finish_timeout_s:g} s"

    def _warn(self, reason: str) -> None:
        """Say once per process and reason what happened and what remains to be done; not after the trial has ended."""
        if reason not in _told and not self._given_up:
            _told.add(reason)
            where = self._directory
            _log.warning("W&B: %s. Training goes on; runs are kept in %s, `hoir sync` sends them.", reason, where)


class _Logger(Logger):
    """Lightning's side of the tracker: an epoch is a step."""

    def __init__(self, tracker: WandbTracker, *, name: str, version: str) -> None:
        super().__init__()
        self._tracker, self._name, self._version = tracker, name, version

    @property
    def name(self) -> str:
        return self._name

    @property
    def version(self) -> str:
        return self._version

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = dict(metrics)
        self._tracker.log_row(int(row.pop("epoch", step or 0)), row)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        self._tracker.log_config(vars(params) if isinstance(params, Namespace) else dict(params))
