"""The one LightningModule: every task regresses a target from inputs, so no task owns a loop or an optimizer."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from hoir_ray.training.config import TrainingConfig
from hoir_ray.training.cuda_graph import CapturedStep
from hoir_ray.training.data import TaskData
from hoir_ray.training.fused import MAX_ROWS, FusedSteps, fuse
from hoir_ray.training.loader import IndexLoader, epoch_seed
from hoir_ray.training.optimizers import build_optimizer, needs_second_order, set_learning_rate, settle
from hoir_ray.training.optimizers.schedule import Schedule
from hoir_ray.training.predict import cast, device_and_dtype

MIN_BLOCK_STEPS = 64  # to one `training_step`


class RegressionModule(LightningModule):
    """Least squares, many optimizer steps to one `training_step`: Lightning's own cost per step exceeds ours.

    Attributes:
        network: What is trained; the module itself adds no parameters.
        train_loss: Mean squared error over the last epoch, as the weights were when each batch was seen.
        epoch_time_s: What the last epoch's optimizer steps took.
    """

    def __init__(self, network: nn.Module, data: TaskData, *, config: TrainingConfig) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.data, self.config = network, data, config
        self.schedule = Schedule(config.scheduler, max_epochs=config.max_epochs)
        self.train_loss, self.epoch_time_s = float("nan"), 0.0

    def configure_optimizers(self) -> Optimizer:
        return build_optimizer(
            self.network.parameters(),
            config=self.config.optimizer,
            device=self.device,
            capturable=self._captures,
        )

    @property
    def _captures(self) -> bool:
        return self.device.type == "cuda" and self.trainer.world_size == 1 and not self._second_order

    @property
    def _second_order(self) -> bool:
        return needs_second_order(self.config.optimizer)

    @property
    def learning_rate(self) -> float:
        """The rate of the last step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def train_dataloader(self) -> IndexLoader:
        self._loader = IndexLoader(
            self.data.train.num_samples,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            device=self.device,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            max_steps=max(MIN_BLOCK_STEPS, MAX_ROWS // self.config.batch_size),
        )
        return self._loader

    def on_fit_start(self) -> None:
        self.data.train.to(self.device)
        self.data.val.to(self.device)

    def on_train_start(self) -> None:
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        settle(optimizer, device=self.device, capturable=self._captures)
        self._optimizer = optimizer
        self._precision = device_and_dtype(self.network)[1]
        self._fused = self._fuse()

    def on_train_epoch_start(self) -> None:
        self._loader.epoch = self.current_epoch
        self.data.train.start_epoch(self.current_epoch)
        # Captured anew for each epoch, in which the samples' tensors may be others; it costs a few milliseconds.
        self._step = CapturedStep(self._eager_step) if self._captures else self._eager_step
        torch.manual_seed(epoch_seed(self.config.seed + 1, self.current_epoch))  # AdaHessian draws from it
        self._steps_done, self._rows_done = 0, 0
        self._loss_sum = torch.zeros((), device=self.device, dtype=torch.float64)
        self._epoch_began = time.perf_counter()

    def _fuse(self) -> FusedSteps | None:
        if self.device.type != "cpu" or self.trainer.world_size > 1 or self.config.precision == "bf16":
            return None
        config = self.config
        return fuse(
            self.network, self.data, optimizer=self._optimizer, config=config.optimizer, batch_size=config.batch_size
        )

    def training_step(self, block: tuple[Tensor, float], block_index: int) -> None:
        index, share = block
        first = self._steps_done
        rates = [self._rate(step) for step in range(first, first + len(index))]
        # The optimizer makes its state in a separate step.
        num_alone = len(index) if self._fused is None else int(not self._fused.is_ready)
        for rows, rate in zip(index[:num_alone], rates, strict=False):
            set_learning_rate(self._optimizer, rate)
            self._loss_sum.add_(self._step(rows, share), alpha=len(rows))
        if self._fused is not None and num_alone < len(index):
            losses = self._fused.train(index[num_alone:], rates=rates[num_alone:])
            set_learning_rate(self._optimizer, rates[-1])
            self._loss_sum.add_(losses.sum(), alpha=index.shape[1])
        self._steps_done += len(index)
        self._rows_done += index.numel()

    def _rate(self, step: int) -> float:
        epoch = self.current_epoch + step / self._loader.num_steps
        return self.config.optimizer.lr * self.schedule.factor(epoch)

    def _eager_step(self, rows: Tensor, share: float) -> Tensor:
        inputs, target = cast(self.data.train(rows), self._precision)
        loss = functional.mse_loss(self.network(*inputs), target)
        self._optimizer.zero_grad(set_to_none=True)
        # Workers average their gradients; a worker with more rows than another must weigh more.
        self._backward(loss * share if share != 1.0 else loss)
        self._optimizer.step()
        return loss.detach()

    def _backward(self, loss: Tensor) -> None:
        if self.trainer.world_size > 1:
            self.manual_backward(loss, create_graph=self._second_order)
        else:
            loss.backward(create_graph=self._second_order)  # type: ignore[no-untyped-call]

    def end_epoch(self) -> None:
        """Settle the epoch's loss and time. Waits for the device."""
        totals = torch.stack([self._loss_sum, torch.tensor(float(self._rows_done)).to(self._loss_sum)])
        if self.trainer.world_size > 1:
            totals = self.trainer.strategy.reduce(totals, reduce_op="sum")
        self.train_loss = float(totals[0] / totals[1])
        self.epoch_time_s = time.perf_counter() - self._epoch_began
        self._optimizer.zero_grad(set_to_none=True)  # breaks the cycle of differentiable gradients
        self.schedule.end_epoch(self.train_loss)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["schedule"] = dict(self.schedule.state)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.schedule.state = dict(checkpoint["schedule"])
