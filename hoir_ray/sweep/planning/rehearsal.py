"""A dress rehearsal of a sweep: its data loaded, its smallest and largest network built and run on one batch."""

from __future__ import annotations

import logging
import time

import torch

from hoir_ray.errors import WorkError
from hoir_ray.storage import open_storage
from hoir_ray.sweep.planning.candidate import NetworkSize
from hoir_ray.sweep.planning.plan import Plan
from hoir_ray.tasks.localize import localize

_log = logging.getLogger(__name__)
MAX_PARAMETERS = 200_000_000


def rehearse(plan: Plan) -> dict[str, dict[str, float]]:
    """Parameters and the time of one forward and backward pass, for the smallest and the largest network.

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
    index = torch.arange(min(config.training.batch_size, data.train.num_samples))
    inputs, target = data.train(index)
    began = time.perf_counter()
    torch.nn.functional.mse_loss(network(*inputs), target).backward()  # type: ignore[no-untyped-call]
    return {"num_parameters": counted, "step_ms": (time.perf_counter() - began) * 1e3}
