"""The tracker: a queue and one thread in front of the SDK, so that nothing W&B does can hold up a training."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning.pytorch.loggers import Logger
from torch import Tensor

from hoir_ray.config import nest
from hoir_ray.trackers._wandb.access import find_access, import_sdk, remember_outage
from hoir_ray.trackers._wandb.config import Config

if TYPE_CHECKING:
    import wandb

_log = logging.getLogger(__name__)
_told: set[str] = set()
_INIT_TIMEOUT_S = 20.0
UNFINISHED = "hoir-unfinished"  # lies in the folder of an online run until everything has been sent

Message = Callable[["wandb.Run"], None]


def build(
    config: Config,
    *,
    directory: Path,
    sweep: str,
    trial: str,
    parameters: Mapping[str, Any],
) -> WandbTracker:
    """A tracker that starts its run with the first thing it is told, so that only the worker that tells has one.

    Args:
        directory: Where W&B keeps its files, in a folder `wandb`.
        parameters: Dotted paths and values; shown as the run's config, nested.
    """
    return WandbTracker(
        config,
        directory=directory,
        identity={"group": sweep, "name": trial, "job_type": "trial", "id": run_id(sweep, trial)},
        parameters={**nest(parameters), "sweep": sweep, "trial": trial},
    )


def run_id(sweep: str, trial: str) -> str:
    """The same trial has the same run, whoever trains it and however often it is resumed."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{sweep}-{trial}")[:100]
    return f"{readable}-{hashlib.sha256(f'{sweep}/{trial}'.encode()).hexdigest()[:8]}"


class WandbTracker:
    """Sends what it is told from a thread of its own; `close` waits for it no longer than the configured time."""

    def __init__(
        self,
        config: Config,
        *,
        directory: Path,
        identity: Mapping[str, str],
        parameters: Mapping[str, Any],
    ) -> None:
        self.logger: Logger = _Logger(self, name=identity["group"], version=identity["name"])
        self._config = config
        self._directory = directory
        self._identity = identity
        self._parameters = parameters
        self._messages: SimpleQueue[Message | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="hoir-wandb", daemon=True)
        # How far this trial was told of here, by earlier attempts too: parts that were offline do not know each other.
        self._note = directory / "wandb" / f"{identity['id']}.epoch"
        self.known_epoch = self.last_epoch = -1
        self._images_sent_at = -float("inf")
        self._held_images: Message | None = None
        self._ended = config.mode == "disabled"
        self._given_up = False

    def log_images(self, images: Mapping[str, Tensor], *, step: int) -> None:
        arrays = {
            name: (i.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8).numpy() for name, i in images.items()
        }

        def message(run: wandb.Run) -> None:
            if step <= self.known_epoch:
                return
            wandb = import_sdk()
            pictures = {f"pictures/{name}": wandb.Image(array) for name, array in arrays.items()}
            run.log({**pictures, "epoch": step}, step=max(step, _next_step(run)))

        if time.monotonic() - self._images_sent_at < self._config.images_every_s:
            self._held_images = message
            return
        self._images_sent_at, self._held_images = time.monotonic(), None
        self.send(message)

    def send(self, message: Message) -> None:
        """Queue something to be done with the run."""
        if self._ended:
            return
        if not self._thread.is_alive():
            self._thread.start()
        self._messages.put(message)

    def close(self) -> None:
        """Send what is pending, for no longer than the configured time; the rest waits for `hoir sync`."""
        if self._held_images is not None:
            self.send(self._held_images)
        self._ended = True
        if self._thread.is_alive():
            self._messages.put(None)
            self._thread.join(timeout=self._config.finish_timeout_s)
            if self._thread.is_alive():
                self._warn(self._late())
                self._given_up = True

    def _work(self) -> None:
        try:
            run = self._start()
            while (message := self._messages.get()) is not None:
                message(run)
            self._note.write_text(str(self.last_epoch))
            run.finish()
            (Path(run.dir).parent / UNFINISHED).unlink(missing_ok=True)
        except TimeoutError:
            self._warn(self._late())
        except Exception as error:
            self._warn(_shorten(error))
        finally:
            self._ended = True

    def _start(self) -> wandb.Run:
        self._directory.mkdir(parents=True, exist_ok=True)
        for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR"):  # settings of the process alone, so the first run's holds
            os.environ.setdefault(name, str(self._directory / "wandb" / name.split("_")[1].lower()))
        with suppress(OSError, ValueError):
            self.known_epoch = self.last_epoch = int(self._note.read_text())
        access = find_access(self._config, timeout_s=min(5.0, self._config.finish_timeout_s / 2))
        if access.reason is not None:
            self._warn(access.reason)
        identity = dict(self._identity)
        if access.mode == "online":
            try:
                run = self._init("online", identity)
                (Path(run.dir).parent / UNFINISHED).touch()
                return run
            except Exception as error:
                if isinstance(error, import_sdk().errors.CommError):
                    remember_outage(_shorten(error))
                self._warn(_shorten(error))
                # The SDK takes the id for being in use in this process from now on.
                identity["id"] += "-offline"
        return self._init("offline", identity)

    def _init(self, mode: Literal["online", "offline"], identity: Mapping[str, str]) -> wandb.Run:
        wandb = import_sdk()
        run = wandb.init(
            project=self._config.project,
            entity=self._config.entity,
            tags=list(self._config.tags),
            config=dict(self._parameters),
            dir=str(self._directory),
            mode=mode,
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=_settings(finish_timeout_s=self._config.finish_timeout_s),
            id=identity["id"],
            name=identity["name"],
            group=identity["group"],
            job_type=identity["job_type"],
        )
        run.define_metric("epoch")
        run.define_metric("*", step_metric="epoch")
        return run

    def _late(self) -> str:
        return f"not everything was sent within {self._config.finish_timeout_s:g} s"

    def _warn(self, reason: str) -> None:
        """Say once per process and reason what happened and what remains to be done; not after the trial has ended."""
        if reason not in _told and not self._given_up:
            _told.add(reason)
            where = self._directory
            _log.warning("W&B: %s. Training goes on; runs are kept in %s, `hoir sync` sends them.", reason, where)


class _Logger(Logger):
    """Lightning's side of the tracker: an epoch is a step, and a step that the run already has is not sent again."""

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
        epoch = int(metrics.get("epoch", step or 0))
        row = {**metrics, "epoch": epoch}

        def message(run: wandb.Run) -> None:
            if epoch >= _next_step(run) and epoch > self._tracker.known_epoch:
                self._tracker.last_epoch = epoch
                run.log(row, step=epoch)

        self._tracker.send(message)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        values = vars(params) if isinstance(params, Namespace) else dict(params)

        def message(run: wandb.Run) -> None:
            run.config.update(values, allow_val_change=True)  # type: ignore[no-untyped-call]

        self._tracker.send(message)


def _next_step(run: wandb.Run) -> int:
    """The first step that the run still takes; a resumed run tells of earlier ones only as its start."""
    return max(run.step, run.starting_step)


def _settings(*, finish_timeout_s: float) -> wandb.Settings:
    return import_sdk().Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        init_timeout=_INIT_TIMEOUT_S,
        finish_timeout=0.6 * finish_timeout_s,  # the rest is for a start that a short trial has to wait for
        finish_timeout_raises=True,
    )


def _shorten(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    key = os.environ.get("WANDB_API_KEY")
    return text.replace(key, "***") if key else text
