"""A dress rehearsal of a sweep: its data loaded, its smallest and largest network built and run on one batch."""

from __future__ import annotations

import logging
import time

import torch
from torch import Tensor

from hoir_ray.errors import DivergedError, WorkError
from hoir_ray.storage import open_storage
from hoir_ray.sweep.planning.candidate import NetworkSize
from hoir_ray.sweep.planning.plan import Plan
from hoir_ray.tasks.contract import TaskConfig
from hoir_ray.tasks.localize import localize
from hoir_ray.training.data import Batch, Samples, TaskData
from hoir_ray.training.loop import Epoch, Hooks, Measured, train

_log = logging.getLogger(__name__)
MAX_PARAMETERS = 200_000_000
NUM_STEPS = 64  # that are trained to measure their time, in each of two epochs


class _First(Samples):
    """The first samples of others."""

    def __init__(self, samples: Samples, *, num_samples: int) -> None:
        super().__init__()
        self.samples, self.num_samples = samples, min(samples.num_samples, num_samples)

    def forward(self, index: Tensor) -> Batch:
        batch: Batch = self.samples(index)
        return batch

    @property
    def whole(self) -> Batch | None:
        return self.samples.whole if self.num_samples == self.samples.num_samples else None

    @property
    def depends_on_order(self) -> bool:
        return self.samples.depends_on_order

    def start_epoch(self, epoch: int) -> None:
        self.samples.start_epoch(epoch)


def rehearse(plan: Plan) -> dict[str, dict[str, float]]:
    """Parameters and the time of an epoch, for the smallest and the largest network, from some steps of training.

    Raises:
        DataError: If the data cannot be loaded.
        WorkError: If a network is too large to be tried here, or is not as large as was computed.
    """
    return {"smallest": _try(plan, plan.smallest), "largest": _try(plan, plan.largest)}


def _try(plan: Plan, size: NetworkSize) -> dict[str, float]:
    config = plan.config(size.point)
    where = plan.spec.storage
    data = plan.task.data(localize(config, plan.spec.inputs, open_storage(where.uri, endpoint_url=where.endpoint_url)))
    if size is plan.smallest:
        for note in data.notes:
            _log.warning("%s", note)
    if size.num_parameters > MAX_PARAMETERS:
        raise WorkError(f"a network of {size.num_parameters:,} parameters is too large to be tried here")
    network = plan.task.network(config)
    counted = sum(p.numel() for p in network.parameters() if p.requires_grad)
    if counted != size.num_parameters:
        raise WorkError(f"{size.point}: {counted:,} parameters were built, {size.num_parameters:,} were computed")
    return {"num_parameters": counted, "epoch_s": _epoch_s(network, config, data, cpus=plan.spec.resources.cpus)}


def _epoch_s(network: torch.nn.Module, config: TaskConfig, data: TaskData, *, cpus: float) -> float:
    """Seconds of an epoch with its validation, from a part of both; the first one compiles and does not count."""
    num_samples = min(data.train.num_samples, NUM_STEPS * config.training.batch_size)
    share = num_samples / data.train.num_samples
    part = TaskData(
        train=_First(data.train, num_samples=num_samples),
        val=_First(data.val, num_samples=max(1, round(share * data.val.num_samples))),
        facts=data.facts,
    )
    training = config.training.model_copy(update={"max_epochs": 2, "early_stopping": None, "val_every_epochs": 1})
    ended: list[float] = []

    def on_epoch(_: Epoch) -> bool:
        ended.append(time.perf_counter())
        return True

    def score(prediction: Tensor, target: Tensor, _: TaskData) -> dict[str, float]:
        return {"val_loss": float(torch.nn.functional.mse_loss(prediction[:, : target.shape[1]], target))}

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, int(cpus)))
    try:
        hooks = Hooks(metric="val_loss", goal="minimize", on_epoch=on_epoch)
        train(network, part, training, Measured(score=score), hooks)
    except DivergedError as error:
        raise WorkError(f"training diverges at once: {error}") from None
    finally:
        torch.set_num_threads(before)
    return (ended[1] - ended[0]) / share
