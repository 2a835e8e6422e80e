"""Recording of a training as it runs: metrics, the best weights, early stopping, pictures and checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from hoir_ray.config import nearest
from hoir_ray.errors import DivergedError, SpecError
from hoir_ray.pictures.quality import bits_per_pixel
from hoir_ray.trackers import Tracker
from hoir_ray.training.checkpoints import write_checkpoint
from hoir_ray.training.data import TaskData
from hoir_ray.training.module import RegressionModule
from hoir_ray.training.predict import predict

Goal = Literal["minimize", "maximize"]
Score = Callable[[Tensor, Tensor, TaskData], dict[str, float]]
Measure = Callable[[nn.Module, TaskData], dict[str, float]]
Pictures = Callable[[nn.Module, TaskData], Mapping[str, Tensor]]
MAX_WRITING_SHARE = 0.02  # of a training's time, spent on checkpoints
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A validated epoch, counted from 1; `is_best` when no earlier one had a better value of the chosen metric."""

    epoch: int
    metrics: dict[str, float]
    is_best: bool


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """Callbacks of a training, and the checkpoint that it keeps.

    Attributes:
        metric: Decides which epoch is best; one of the score's or of the loop's own.
        trackers: Get the metrics of every validated epoch, and the task's pictures about ten times.
        on_epoch: Called with every validated epoch, while the network still holds that epoch's weights. Returning False
            ends training with this epoch, its checkpoint written, so that it can be resumed; raising SystemExit ends it
            there, its checkpoint written as well. Called in every worker; what the first one's does holds for all.
        on_end: Called with the network when it holds the best weights; the metrics that it returns go to the trackers.
        checkpoint: File of the state that a restart needs. If it is there, training resumes from it, exactly.
        checkpoint_every_s: After so much training the next epoch's end is kept, or later where writing takes long;
            0 keeps every epoch's, whatever it takes.
        on_checkpoint: Called with each written file and its epoch, in the first worker only; may move the file away.
    """

    metric: str = "val_psnr_db"
    goal: Goal = "maximize"
    trackers: Sequence[Tracker] = ()
    on_epoch: Callable[[Epoch], bool | None] | None = None
    on_end: Callable[[nn.Module], Mapping[str, float]] | None = None
    checkpoint: Path | None = None
    checkpoint_every_s: float = 2.0
    on_checkpoint: Callable[[Path, int], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Measurements and pictures of the network at a validated epoch; the task's part of a training.

    Attributes:
        score: (prediction, target, data) over the whole validation split -> metrics.
        measure: (network, data) -> further metrics.
        pictures: (network, data) -> name -> picture, for the trackers.
        hyperparameters: Plain JSON values for the trackers and the checkpoint.
    """

    score: Score
    measure: Measure = lambda network, data: {}
    pictures: Pictures | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class History:
    """State of a training so far; tensors and plain values only, since it goes into the checkpoint."""

    epochs: int = 0
    best_epoch: int = 0
    best_metrics: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    state: dict[str, Tensor] = field(default_factory=dict)
    train_time_s: float = 0.0
    stopping_value: float | None = None
    stopping_epoch: int = 0
    stopped_early: bool = False


def improved(value: float, before: float | None, *, goal: Goal, by: float = 0.0) -> bool:
    """Return whether `value` is better than `before` by more than `by`."""
    if before is None:
        return True
    return value > before + by if goal == "maximize" else value < before - by


class Recorder(Callback):
    """Runs at the end of every epoch: validate, compare, report, then write what a restart would need.

    The report comes before the checkpoint: a worker lost between the two repeats an epoch, and none is missing.
    """

    def __init__(self, measured: Measured, hooks: Hooks, history: History) -> None:
        self._measured, self._hooks, self.history = measured, hooks, history
        self._written_at, self._write_s = time.monotonic(), 0.0
        self._failed_trackers: set[int] = set()
        self._told_to_end = False
        self.interrupted = False

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self.history), hyperparameters=dict(self._measured.hyperparameters))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, RegressionModule)
        module, history, config = pl_module, self.history, pl_module.config
        module.end_epoch()
        history.epochs = trainer.current_epoch + 1
        history.train_time_s += module.epoch_time_s
        self._check_finite({"train_loss": module.train_loss})
        is_last = history.epochs == config.max_epochs
        if is_last or history.epochs % config.val_every_epochs == 0:
            self._validated(self._measure(module), module, trainer)
            trainer.should_stop = trainer.should_stop or history.stopped_early or self._told_to_end
        self._checkpoint(trainer, is_last=is_last or trainer.should_stop)

    def _measure(self, module: RegressionModule) -> dict[str, float]:
        history, data = self.history, module.data
        prediction, target = predict(module.network, data.val)
        scores = {**self._measured.score(prediction, target, data), **self._measured.measure(module.network, data)}
        num_parameters = sum(p.numel() for p in module.network.parameters() if p.requires_grad)
        metrics = {
            "train_loss": module.train_loss,
            **scores,
            "num_parameters": num_parameters,
            "train_time_s": history.train_time_s,
            "samples_per_s": data.train.num_samples / max(module.epoch_time_s, 1e-9),
            "lr": module.learning_rate,
        }
        if data.facts.num_pixels is not None:
            metrics["bits_per_pixel"] = bits_per_pixel(num_parameters, num_pixels=data.facts.num_pixels)
        self._check_finite(metrics)
        return metrics

    def _check_finite(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise DivergedError(
                    f"{name} became {value} in epoch {self.history.epochs}; a lower learning rate may help"
                )

    def _validated(self, metrics: dict[str, float], module: RegressionModule, trainer: Trainer) -> None:
        hooks, history = self._hooks, self.history
        value = self._value(hooks.metric, metrics)
        is_best = improved(value, history.best_metrics.get(hooks.metric), goal=hooks.goal)
        history.metrics = metrics
        if is_best:
            history.best_epoch, history.best_metrics = history.epochs, metrics
            history.state = _weights(module.network)
        self._stop_early(metrics, module)
        if trainer.is_global_zero:
            self._track(metrics, module)
        if hooks.on_epoch is not None:
            self._report(Epoch(epoch=history.epochs, metrics=dict(metrics), is_best=is_best), trainer)

    def _report(self, epoch: Epoch, trainer: Trainer) -> None:
        """Share the first worker's answer with all: a worker that stopped alone would leave the others waiting."""
        assert self._hooks.on_epoch is not None
        exit_now, go_on = None, None
        try:
            go_on = self._hooks.on_epoch(epoch)
        except SystemExit as stop:
            exit_now = stop
        self._told_to_end, exits = trainer.strategy.broadcast((go_on is False, exit_now is not None))
        if exits:
            self._checkpoint(trainer, is_last=True)  # it may be resumed
            raise exit_now or SystemExit

    def _value(self, metric: str, metrics: Mapping[str, float]) -> float:
        if metric not in metrics:
            measured = ", ".join(sorted(metrics))
            raise SpecError(f"metric '{metric}': not measured here.{nearest(metric, metrics)} Measured: {measured}")
        return metrics[metric]

    def _stop_early(self, metrics: Mapping[str, float], module: RegressionModule) -> None:
        rule, history = module.config.early_stopping, self.history
        if rule is None:
            return
        value = self._value(rule.metric, metrics)
        if improved(value, history.stopping_value, goal=rule.goal, by=rule.min_delta):
            history.stopping_value, history.stopping_epoch = value, history.epochs
        history.stopped_early = history.epochs - history.stopping_epoch >= rule.patience

    def _checkpoint(self, trainer: Trainer, *, is_last: bool) -> None:
        path, hooks = self._hooks.checkpoint, self._hooks
        if path is None:
            return
        began = time.monotonic()
        pause_s = hooks.checkpoint_every_s and max(hooks.checkpoint_every_s, self._write_s / MAX_WRITING_SHARE)
        due = is_last or began - self._written_at >= pause_s
        if not trainer.strategy.broadcast(due):  # writing is a collective act, so the first worker's clock decides
            return
        write_checkpoint(trainer, path)
        self._written_at = time.monotonic()
        self._write_s = self._written_at - began
        if hooks.on_checkpoint is not None and trainer.is_global_zero:
            hooks.on_checkpoint(path, self.history.epochs)

    def _track(self, metrics: Mapping[str, float], module: RegressionModule) -> None:
        epoch, last = self.history.epochs, module.config.max_epochs
        images: Mapping[str, Tensor] = {}
        is_last = epoch == last or self.history.stopped_early
        if self._hooks.trackers and self._measured.pictures is not None and _is_drawn(epoch, last, is_last=is_last):
            images = self._measured.pictures(module.network, module.data)
        for tracker in self._hooks.trackers:
            self._tell(tracker, lambda t: t.logger.log_metrics(dict(metrics), step=epoch))
            if images:
                self._tell(tracker, lambda t: t.log_images(images, step=epoch))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        for tracker in self._hooks.trackers:
            self._tell(tracker, lambda t: t.logger.log_hyperparams(dict(self._measured.hyperparameters)))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.interrupted = isinstance(exception, KeyboardInterrupt)

    def track_end(self, metrics: Mapping[str, float]) -> None:
        """Log what was measured once training had ended, with the metrics of its last epoch, whose step it has."""
        if not metrics:
            return
        whole = {**self.history.metrics, **metrics}
        for tracker in self._hooks.trackers:
            self._tell(tracker, lambda t: t.logger.log_metrics(whole, step=self.history.epochs))

    def close(self) -> None:
        """Let the trackers flush what is pending."""
        for tracker in self._hooks.trackers:
            self._tell(tracker, lambda t: t.close())

    def _tell(self, tracker: Tracker, message: Callable[[Tracker], object]) -> None:
        try:
            message(tracker)
        except Exception as error:  # watching must never end what is watched
            if id(tracker) not in self._failed_trackers:
                _log.warning("tracker %s failed, training continues: %s", type(tracker).__name__, error)
            self._failed_trackers.add(id(tracker))


def _weights(network: nn.Module) -> dict[str, Tensor]:
    """A copy on the CPU; float32 whatever the training's precision, since that is what a model pack holds."""
    weights = {}
    for name, tensor in network.state_dict().items():
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        weights[name] = tensor.detach().to(device="cpu", dtype=dtype, copy=True)
    return weights


def _is_drawn(epoch: int, max_epochs: int, *, is_last: bool) -> bool:
    """The first epoch, the last, and about ten in between."""
    return epoch == 1 or is_last or epoch % max(1, max_epochs // 10) == 0
