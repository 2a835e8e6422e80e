"""Predictions over a whole split, in blocks that bound memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hoir_ray.networks.recorded.program import Program, build_program
from hoir_ray.training.data import Batch, Samples


def cast(batch: Batch, dtype: torch.dtype) -> Batch:
    """The batch with its floating-point tensors in the network's precision."""
    inputs, target = batch
    return tuple(x.to(dtype) if x.is_floating_point() else x for x in inputs), target.to(dtype)


def device_and_dtype(network: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and precision of a network, read from its first parameter."""
    parameter = next(network.parameters(), torch.empty(0))
    return parameter.device, parameter.dtype


@torch.inference_mode()
def predict(network: nn.Module, samples: Samples, *, max_rows: int = 8192) -> tuple[Tensor, Tensor]:
    """Predictions and targets of all samples in order, float32, on the samples' device.

    Args:
        max_rows: Samples taken at a time; the layers' intermediate values are many times larger than their inputs.
    """
    was_training = network.training
    network.eval()
    device, dtype = device_and_dtype(network)
    samples.to(device)
    predictions: list[Tensor] = []
    targets: list[Tensor] = []
    program: Program | None = None
    for batch in _batches(samples, max_rows=max_rows, device=device):
        inputs, target = cast(batch, dtype)
        if not predictions:
            program = build_program(network, inputs, num_rows=min(max_rows, samples.num_samples))
        predicted = network(*inputs) if program is None else program.predict(program.inputs(inputs))
        predictions.append(predicted.float())
        targets.append(target.float())
    network.train(was_training)
    return torch.cat(predictions), torch.cat(targets)


def _batches(samples: Samples, *, max_rows: int, device: torch.device) -> Iterator[Batch]:
    for first in range(0, samples.num_samples, max_rows):
        last = min(first + max_rows, samples.num_samples)
        if samples.whole is None:
            yield samples(torch.arange(first, last, device=device))
        else:
            inputs, target = samples.whole
            yield tuple(x[first:last] for x in inputs), target[first:last]
