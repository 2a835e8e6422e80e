"""Training under rounding: the network computes with rounded weights, and the exact ones behind them are trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoir_ray.errors import DivergedError
from hoir_ray.packs.codec.steps import step_size
from hoir_ray.training.config import QuantizationConfig, TrainingConfig
from hoir_ray.training.data import TaskData
from hoir_ray.training.loader import IndexLoader
from hoir_ray.training.predict import cast

_WARM_UP = 0.05  # of the steps; Adam's first ones go by the sign of one noisy gradient


def fine_tune(
    network: nn.Module,
    data: TaskData,
    codes: Mapping[str, int],
    *,
    training: TrainingConfig,
    quantization: QuantizationConfig = QuantizationConfig(),  # noqa: B008  # frozen
) -> None:
    """Train `network` in place so that its weights, rounded to the steps of `codes`, draw better.

    Args:
        codes: The step of each tensor, by its name in the network's state; see `steps.step_size`.
        training: How the network was trained; batch size and seed are taken over.
        quantization: How long and at which rate it is trained now; the rate rises for a short while first.

    Raises:
        DivergedError: If the loss became NaN or infinite; the network is then of no use.

    Source: Bengio et al. 2013, "Estimating or Propagating Gradients Through Stochastic Neurons", for the
    straight-through estimator: rounding counts as the identity going backward.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device).train()
    data.train.to(device)
    rounded = Rounded(network, codes)
    optimizer = torch.optim.Adam(rounded.exact, lr=quantization.lr, betas=(0.9, 0.99), fused=True)
    loader = IndexLoader(data.train.num_samples, batch_size=training.batch_size, seed=training.seed, device=device)
    num_steps = max(1, round(quantization.fraction * training.max_epochs * loader.num_steps))
    loss = torch.zeros((), device=device)
    for step, rows in enumerate(_batches(loader, data, first_epoch=training.max_epochs, num_steps=num_steps)):
        optimizer.param_groups[0]["lr"] = quantization.lr * _factor(step / num_steps)
        rounded.round()
        inputs, target = cast(data.train(rows), torch.float32)
        loss = functional.mse_loss(network(*inputs), target)
        loss.backward()  # type: ignore[no-untyped-call]
        rounded.pass_gradients()
        optimizer.step()
    rounded.restore()
    network.eval().cpu()
    last = float(loss.detach())
    if not math.isfinite(last):
        raise DivergedError(f"the loss became {last} in fine-tuning; a lower learning rate may help")


class Rounded:
    """A network whose parameters are rounded copies of exact ones.

    Attributes:
        exact: The parameters that an optimizer steps.
    """

    def __init__(self, network: nn.Module, codes: Mapping[str, int]) -> None:
        named = list(network.named_parameters())
        self._parameters = [parameter for _, parameter in named]
        self._steps = [step_size(codes[name]) for name, _ in named]
        self.exact = [nn.Parameter(parameter.detach().clone()) for parameter in self._parameters]

    @torch.no_grad()
    def round(self) -> None:
        for parameter, exact, step in zip(self._parameters, self.exact, self._steps, strict=True):
            torch.div(exact, step, out=parameter.data).round_().mul_(step)

    def pass_gradients(self) -> None:
        for parameter, exact in zip(self._parameters, self.exact, strict=True):
            exact.grad, parameter.grad = parameter.grad, None

    @torch.no_grad()
    def restore(self) -> None:
        """Give the network the exact parameters."""
        for parameter, exact in zip(self._parameters, self.exact, strict=True):
            parameter.copy_(exact)


def _batches(loader: IndexLoader, data: TaskData, *, first_epoch: int, num_steps: int) -> Iterator[Tensor]:
    """Sample numbers of `num_steps` batches, in epochs that are numbered on from the training's."""
    epoch, done = first_epoch, 0
    while True:
        loader.epoch = epoch
        data.train.start_epoch(epoch)
        for block, _ in loader:
            for rows in block:
                if done == num_steps:
                    return
                yield rows
                done += 1
        epoch += 1


def _factor(done: float) -> float:
    return min(1.0, (done + 1e-3) / _WARM_UP) * (1 + math.cos(math.pi * done)) / 2
