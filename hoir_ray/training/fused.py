"""Many optimizer steps in one compiled call; torch's optimizer holds their state before and after."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float64, Int64
from torch import Tensor, nn
from torch.optim import Optimizer

from hoir_ray.networks.recorded.program import Program, Update, build_program
from hoir_ray.networks.recorded.tape import Inputs
from hoir_ray.training.config import (
    AdaHessianConfig,
    AdamConfig,
    AdamWConfig,
    LionConfig,
    OptimizerConfig,
    SparseLionConfig,
)
from hoir_ray.training.data import TaskData
from hoir_ray.training.predict import cast

MAX_ROWS = 2**17  # of a call, which no signal interrupts; about a tenth of a second
MAX_BATCH_BYTES = 2**24  # of a call's batches, where they are made and not rows of a table
SPARE_BYTES = 2**28  # of working memory beyond what torch would need for the weights
FusedConfig = AdamConfig | AdamWConfig | LionConfig | SparseLionConfig
_log = logging.getLogger(__name__)


class FusedSteps:
    """Trains a network on blocks of batches, once its optimizer has the state that its first step makes."""

    def __init__(self, program: Program, data: TaskData, *, optimizer: Optimizer, config: FusedConfig) -> None:
        self._program, self._samples, self._optimizer, self._config = program, data.train, optimizer, config
        whole = self._samples.whole
        self._whole = None if whole is None else cast(whole, program.dtype)

    @property
    def is_ready(self) -> bool:
        """Return whether the optimizer has its state."""
        return all("exp_avg" in self._optimizer.state.get(p, {}) for p in self._program.parameters)

    def train(self, index: Int64[Tensor, "steps batch"], *, rates: Sequence[float]) -> Float64[Tensor, " steps"]:
        """One optimizer step for each row of sample numbers, with the learning rates of the steps.

        Returns:
            Each step's mean squared error.
        """
        losses, first = [], 0
        for part in self._parts(index):
            inputs, target, numbers = self._batches(part)
            update = self._update(rates[first : first + len(part)])
            losses.append(self._program.train(inputs, target, numbers, update=update))
            self._count(len(part))
            first += len(part)
        return torch.cat(losses)

    def _parts(self, index: Tensor) -> Iterator[Tensor]:
        num_rows = MAX_ROWS if self._whole is not None else min(MAX_ROWS, MAX_BATCH_BYTES // self._program.row_bytes)
        yield from torch.split(index, max(1, num_rows // index.shape[1]))

    def _batches(self, index: Tensor) -> tuple[Inputs, Tensor, Tensor]:
        """Inputs and targets of the batches, and where among their rows each batch's are."""
        if self._whole is not None:
            inputs, target = self._whole
            return self._program.inputs(inputs), target, index
        asked = index if self._samples.depends_on_order else index.flatten().unsqueeze(0)
        made = [cast(self._samples(rows), self._program.dtype) for rows in asked]
        parts = [self._program.inputs(inputs) for inputs, _ in made]
        picked = [part.picked for part in parts if part.picked is not None]
        inputs_of_all = Inputs(
            rows=torch.cat([part.rows for part in parts]),
            shared=parts[0].shared,
            picked=torch.cat(picked) if picked else None,
        )
        return inputs_of_all, torch.cat([target for _, target in made]), torch.arange(index.numel()).view(index.shape)

    def _update(self, rates: Sequence[float]) -> Update:
        config, states = self._config, [self._optimizer.state[p] for p in self._program.parameters]
        return Update(
            rule=config.name,
            beta1=config.beta1,
            beta2=config.beta2,
            eps=config.eps if isinstance(config, AdamConfig | AdamWConfig) else 0.0,
            weight_decay=0.0 if isinstance(config, AdamConfig) else config.weight_decay,
            steps_done=int(states[0].get("step", 0)),
            rates=rates,
            moments=[(state["exp_avg"], state.get("exp_avg_sq")) for state in states],
        )

    def _count(self, num_steps: int) -> None:
        """Adam counts the steps of each parameter, Lion those of the group, SparseLion none."""
        for parameter in self._program.parameters:
            if "step" in self._optimizer.state[parameter]:
                self._optimizer.state[parameter]["step"] += num_steps
        for group in self._optimizer.param_groups:
            if "step" in group:
                group["step"] += num_steps


def fuse(
    network: nn.Module, data: TaskData, *, optimizer: Optimizer, config: OptimizerConfig, batch_size: int
) -> FusedSteps | None:
    """The steps of this training in compiled form, or None where torch must do them.

    That is AdaHessian's, networks on another device or with parts that no compiled operation computes, machines without
    a compiler, and networks so wide that the working memory of all threads would be out of proportion.
    """
    if isinstance(config, AdaHessianConfig):
        return None
    inputs, _ = data.val(torch.zeros(1, dtype=torch.int64, device=next(network.parameters()).device))
    num_rows = min(batch_size, data.train.num_samples)
    program = build_program(network, inputs, num_rows=num_rows)
    if program is None:
        return None
    weights_bytes = sum(p.numel() * p.element_size() for p in program.parameters)
    needed = program.training_bytes(program.inputs(cast((inputs, inputs[0]), program.dtype)[0]), num_rows=num_rows)
    if needed > SPARE_BYTES + 4 * weights_bytes:
        _log.info("steps run one by one in torch: together they need %.0f MB", needed / 1e6)
        return None
    return FusedSteps(program, data, optimizer=optimizer, config=config)
