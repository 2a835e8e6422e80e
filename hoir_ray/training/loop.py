"""Train one network, with or without Ray, on one device or several."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from torch import Tensor, nn

from hoir_ray.errors import PackError
from hoir_ray.training.checkpoints import read_checkpoint
from hoir_ray.training.config import TrainingConfig
from hoir_ray.training.data import TaskData
from hoir_ray.training.module import RegressionModule
from hoir_ray.training.quiet import quiet_lightning
from hoir_ray.training.recorder import Epoch, History, Hooks, Measured, Recorder

__all__ = ["NO_HOOKS", "Distributed", "Epoch", "Fit", "Hooks", "Measured", "train"]

# In double precision the network is double and batches are cast to it. Lightning's own "64-true" would also make
# float64 the type of every new tensor that names none, those that the data's compiled code fills among them.
_PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {"32": "32-true", "64": "32-true", "bf16": "bf16-mixed"}


class OneProcess(LightningEnvironment):
    """A training of one process, whatever a scheduler's variables say of tasks and ranks around it."""

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def world_size(self) -> int:
        return 1

    def global_rank(self) -> int:
        return 0

    def local_rank(self) -> int:
        return 0

    def node_rank(self) -> int:
        return 0

    def teardown(self) -> None:
        """Leave the scheduler's variables as they are."""


NO_HOOKS = Hooks()


@dataclass(frozen=True, kw_only=True)
class Distributed:
    """Distributed training of one network: a Lightning strategy and its plugins, such as Ray Train's."""

    strategy: Any
    plugins: Sequence[Any] = ()
    accelerator: str = "auto"
    devices: Any = "auto"


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Outcome of a training: weights, metrics and epochs.

    Attributes:
        epochs: How many were trained, over all attempts.
        best_epoch: The one with the best value of the chosen metric, whose metrics and weights these are.
        metrics: Of the last validated epoch.
        state: The best weights, float32 on the CPU.
        stopped_early: Whether early stopping ended it before `max_epochs`.
    """

    epochs: int
    best_epoch: int
    best_metrics: dict[str, float]
    metrics: dict[str, float]
    state: dict[str, Tensor]
    stopped_early: bool


def train(
    network: nn.Module,
    data: TaskData,
    config: TrainingConfig,
    measured: Measured,
    hooks: Hooks = NO_HOOKS,
    *,
    distributed: Distributed | None = None,
) -> Fit:
    """Train `network` in place; afterwards it holds the best epoch's weights, on the CPU.

    Raises:
        DivergedError: If the loss or a metric became NaN or infinite.
        SpecError: If the hooks' metric or the early stopping's is not measured.
        PackError: If the checkpoint is damaged or belongs to another network.
    """
    history = _resume(hooks.checkpoint, network)
    recorder = Recorder(measured, hooks, history)
    try:
        if history.epochs < config.max_epochs and not history.stopped_early:
            module = RegressionModule(network, data, config=config)
            resumed_from = str(hooks.checkpoint) if hooks.checkpoint is not None and history.epochs else None
            _fit(module, recorder, config=config, distributed=distributed, resumed_from=resumed_from)
        network.float().load_state_dict(history.state)
        if hooks.on_end is not None:
            recorder.track_end(hooks.on_end(network))
    finally:
        recorder.close()
    return Fit(**{f.name: getattr(history, f.name) for f in fields(Fit)})


def _resume(checkpoint: Path | None, network: nn.Module) -> History:
    if checkpoint is None or not checkpoint.exists():
        return History()
    saved = read_checkpoint(checkpoint)
    try:
        history = History(**{f.name: saved["callbacks"]["Recorder"][f.name] for f in fields(History)})
        weights = {k.removeprefix("network."): v.shape for k, v in saved["state_dict"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise PackError(f"{checkpoint}: not a checkpoint of this program's training ({error!r})") from error
    if weights != {k: v.shape for k, v in network.state_dict().items()}:
        raise PackError(f"{checkpoint}: was written for another network; delete it to start the trial over")
    return history


def _fit(
    module: RegressionModule,
    recorder: Recorder,
    *,
    config: TrainingConfig,
    distributed: Distributed | None,
    resumed_from: str | None,
) -> None:
    has_cuda = torch.cuda.is_available()
    devices = list(range(torch.cuda.device_count())) if has_cuda else []
    if config.precision == "64":
        module.network.double()  # before a checkpoint's weights are put into it
    # Neither Lightning's loggers nor its checkpoint callback: the recorder does both, on its own terms.
    with quiet_lightning(), torch.random.fork_rng(devices=devices):
        trainer = Trainer(
            max_epochs=config.max_epochs,
            precision=_PRECISIONS[config.precision],
            accelerator=distributed.accelerator if distributed else ("gpu" if has_cuda else "cpu"),
            devices=distributed.devices if distributed else 1,
            strategy=distributed.strategy if distributed else "auto",
            plugins=list(distributed.plugins) if distributed else [OneProcess()],
            callbacks=[recorder],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        # Lightning would leave in the middle of an epoch at SIGTERM; whoever called us ends with one.
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, ckpt_path=resumed_from, weights_only=True if resumed_from else None)
        except SystemExit:
            if not recorder.interrupted:
                raise
            # Lightning turns Ctrl-C into an exit and leaves the process deaf to the next one.
            signal.signal(signal.SIGINT, on_interrupt)
            raise KeyboardInterrupt from None
