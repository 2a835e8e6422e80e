"""Predictions over a whole split, in blocks that bound memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hoir_ray.networks.recorded.program import Program, build_program
from hoir_ray.training.data import Batch, Samples

CALL_ROWS = 2**18  # of a compiled call, which no signal interrupts


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

    The targets may be the samples' own tensor, so they are not to be changed.

    Args:
        max_rows: Samples taken at a time; the layers' intermediate values are many times larger than their inputs.
    """
    was_training = network.training
    network.eval()
    device, dtype = device_and_dtype(network)
    samples.to(device)
    outcome = _predict_whole(network, samples, dtype) or _predict_batches(network, samples, dtype, max_rows=max_rows)
    network.train(was_training)
    return outcome


def _predict_whole(network: nn.Module, samples: Samples, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
    """Predictions written where they stay, and the samples' own targets; None where torch or batches are needed."""
    if samples.whole is None:
        return None
    inputs, target = cast(samples.whole, dtype)
    program = build_program(network, inputs, num_rows=samples.num_samples)
    if program is None:
        return None
    outputs = torch.empty(samples.num_samples, program.out_width, dtype=dtype)
    for first in range(0, samples.num_samples, CALL_ROWS):
        rows = slice(first, first + CALL_ROWS)
        program.predict(program.inputs(tuple(x[rows] for x in inputs)), outputs=outputs[rows])
    return outputs.float(), target.float()


def _predict_batches(
    network: nn.Module, samples: Samples, dtype: torch.dtype, *, max_rows: int
) -> tuple[Tensor, Tensor]:
    predictions: list[Tensor] = []
    targets: list[Tensor] = []
    program: Program | None = None
    for batch in _batches(samples, max_rows=max_rows, device=device_and_dtype(network)[0]):
        inputs, target = cast(batch, dtype)
        if not predictions:
            program = build_program(network, inputs, num_rows=min(max_rows, samples.num_samples))
        predicted = network(*inputs) if program is None else program.predict(program.inputs(inputs))
        predictions.append(predicted.float())
        targets.append(target.float())
    return torch.cat(predictions), torch.cat(targets)


def _batches(samples: Samples, *, max_rows: int, device: torch.device) -> Iterator[Batch]:
    for first in range(0, samples.num_samples, max_rows):
        last = min(first + max_rows, samples.num_samples)
        if samples.whole is None:
            yield samples(torch.arange(first, last, device=device))
        else:
            inputs, target = samples.whole
            yield tuple(x[first:last] for x in inputs), target[first:last]
