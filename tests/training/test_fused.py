"""Steps in one compiled call against the same steps one by one in torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from hoir_ray.errors import DivergedError
from hoir_ray.networks import NetworkConfig, build_mlp
from hoir_ray.networks.config import LayerType, Normalization
from hoir_ray.networks.native.library import library
from hoir_ray.networks.resolve import WAVES
from hoir_ray.training.config import OptimizerConfig
from hoir_ray.training.data import TaskData
from hoir_ray.training.fused import FusedSteps, fuse
from hoir_ray.training.loop import Fit, Measured, train
from hoir_ray.training.optimizers import build_optimizer, set_learning_rate
from tests.contracts.test_tasks import EVERY_TASK, tiny
from tests.training.curve import Surface, score, surface_config, surface_data, surface_network

COMPILED = [name for name in get_args(LayerType) if name not in WAVES]

pytestmark = pytest.mark.skipif(library(torch.float32) is None, reason="no C compiler on this machine")

NUM_STEPS, NUM_SAMPLES = 200, 150
RATES = {"adam": 1e-3, "adamw": 1e-3, "lion": 1e-4, "sparse_lion": 1e-4}


class Training:
    """A network, its optimizer and the numbers of its batches, twice the same for the same arguments."""

    def __init__(
        self, network: dict[str, Any], optimizer: str, *, batch: int, dtype: torch.dtype, seed: int = 0
    ) -> None:
        config = NetworkConfig.model_validate(network)
        torch.manual_seed(seed)
        self.network = build_mlp(config, in_width=2, out_width=2).to(dtype)
        given = {"name": optimizer, "lr": RATES[optimizer], **({} if optimizer == "adam" else {"weight_decay": 0.02})}
        self.config = TypeAdapter[OptimizerConfig](OptimizerConfig).validate_python(given)
        self.optimizer = build_optimizer(self.network.parameters(), config=self.config, device=torch.device("cpu"))
        self.samples = Surface(NUM_SAMPLES)
        generator = torch.Generator().manual_seed(seed)
        self.index = torch.randint(0, NUM_SAMPLES, (NUM_STEPS, batch), generator=generator)
        self.rates = [self.config.lr * (1 - step / NUM_STEPS) for step in range(NUM_STEPS)]
        self.dtype = dtype

    def eager(self, first: int, last: int) -> Tensor:
        losses = []
        for rows, rate in zip(self.index[first:last], self.rates[first:last], strict=True):
            (x,), target = self.samples(rows)
            set_learning_rate(self.optimizer, rate)
            loss = functional.mse_loss(self.network(x.to(self.dtype)), target.to(self.dtype))
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            losses.append(loss.detach().double())
        return torch.stack(losses)

    def fused(self, first: int, last: int) -> Tensor:
        data = TaskData(train=self.samples, val=self.samples)
        steps = fuse(self.network, data, optimizer=self.optimizer, config=self.config, batch_size=self.index.shape[1])
        assert steps is not None
        assert steps.is_ready
        return steps.train(self.index[first:last], rates=self.rates[first:last])


networks = st.builds(
    lambda layer_type, normalization, num_nodes, segments, width, num_layers, periodicity: {
        "layer_type": layer_type,
        "normalization": normalization,
        "num_nodes": num_nodes,
        "segments": segments,
        "hidden": {"width": width, "num_layers": num_layers},
        "periodicity": periodicity,
    },
    st.sampled_from(COMPILED),
    st.sampled_from(get_args(Normalization)),
    st.integers(2, 4),
    st.integers(1, 4),
    st.sampled_from([1, 3, 8, 18]),
    st.integers(0, 2),
    st.sampled_from([None, 2.0]),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(network=networks, optimizer=st.sampled_from(list(RATES)), batch=st.sampled_from([1, 7, 64, 100]))
@example({"layer_type": "switch_discontinuous", "normalization": "max_center"}, "sparse_lion", 70)
@example({"layer_type": "relu", "normalization": "layer_norm"}, "lion", 70)
def test_losses_of_200_steps_are_torchs(network: dict[str, Any], optimizer: str, batch: int) -> None:
    """In double precision: what single precision rounds away grows, in some networks within 50 steps, to a tenth."""
    one, other = (Training(network, optimizer, batch=batch, dtype=torch.float64) for _ in range(2))
    expected = one.eager(0, NUM_STEPS)
    got = torch.cat([other.eager(0, 1), other.fused(1, NUM_STEPS)])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("optimizer", list(RATES))
@pytest.mark.parametrize("layer_type", COMPILED)
def test_losses_in_single_precision_are_torchs(layer_type: str, optimizer: str) -> None:
    network = {"layer_type": layer_type, "segments": 3, "hidden": {"width": 8}}
    one, other = (Training(network, optimizer, batch=70, dtype=torch.float32) for _ in range(2))
    expected = one.eager(0, 30)
    got = torch.cat([other.eager(0, 1), other.fused(1, 30)])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", list(RATES))
def test_torch_and_the_compiled_call_take_over_from_each_other(optimizer: str) -> None:
    network = {"layer_type": "discontinuous", "segments": 3, "hidden": {"width": 8}}
    one, other = (Training(network, optimizer, batch=70, dtype=torch.float64) for _ in range(2))
    expected = one.eager(0, 40)
    parts = [other.eager(0, 10), other.fused(10, 20), other.eager(20, 30), other.fused(30, 40)]
    torch.testing.assert_close(torch.cat(parts), expected, rtol=1e-9, atol=0)
    assert _steps(other.optimizer) == _steps(one.optimizer)
    for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True):
        for name, moment in one.optimizer.state[a].items():
            torch.testing.assert_close(other.optimizer.state[b][name], moment, rtol=1e-6, atol=1e-12)


def _steps(optimizer: Optimizer) -> list[Any]:
    """Where the optimizers count: in each parameter's state, in the group, or nowhere."""
    states = [float(state.get("step", -1)) for state in optimizer.state.values()]
    return [*states, *(group.get("step") for group in optimizer.param_groups)]


def test_how_steps_are_cut_into_calls_changes_nothing() -> None:
    network = {"layer_type": "continuous", "segments": 3, "hidden": {"width": 8}}
    one, other = (Training(network, "adam", batch=70, dtype=torch.float32) for _ in range(2))
    one.eager(0, 1), other.eager(0, 1)
    whole = one.fused(1, 60)
    with patch("hoir_ray.training.fused.MAX_BATCH_BYTES", 1), patch("hoir_ray.training.fused.MAX_ROWS", 1):
        parts = torch.cat([other.fused(1, 31), other.fused(31, 60)])
    assert torch.equal(whole, parts)
    for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("layer_type", ["continuous", "fourier", "relu", "product"])
def test_not_a_number_comes_at_the_same_step(layer_type: str, value: float) -> None:
    network = {"layer_type": layer_type, "segments": 3, "hidden": {"width": 8}}
    one, other = (Training(network, "adam", batch=5, dtype=torch.float32) for _ in range(2))
    for training in (one, other):
        training.samples.y[training.index[30, 2]] = value
    expected = one.eager(0, 60)
    got = torch.cat([other.eager(0, 1), other.fused(1, 60)])
    assert not expected.isfinite().all()
    assert torch.equal(got.isnan(), expected.isnan())
    assert torch.equal(got.isinf(), expected.isinf())


def test_a_diverging_loss_ends_training() -> None:
    data = surface_data()
    assert isinstance(data.train, Surface)
    data.train.y[499] = float("inf")
    with pytest.raises(DivergedError, match=r"train_loss became (nan|inf) in epoch 1"):
        train(surface_network(), data, surface_config(), Measured(score=score))


@EVERY_TASK
@pytest.mark.parametrize("batch_size", [3, 64, 100_000])
def test_every_task_trains_so_with_torchs_numbers(name: str, batch_size: int, tmp_path: Path) -> None:
    task, config = tiny(name, tmp_path)
    settings = config.training.model_copy(update={"batch_size": batch_size, "precision": "64"})
    fits: list[Fit] = []
    calls: list[int] = []
    compiled = FusedSteps.train

    def counted(self: FusedSteps, index: Tensor, *, rates: Any) -> Tensor:
        calls.append(len(index))
        return compiled(self, index, rates=rates)

    for replacement in (fuse, lambda *_, **__: None):
        torch.manual_seed(0)
        network = task.network(config)
        with patch("hoir_ray.training.module.fuse", replacement), patch.object(FusedSteps, "train", counted):
            fits.append(train(network, task.data(config), settings, Measured(score=task.score)))
    assert calls or batch_size == 100_000  # two epochs of a single step, of which the first is torch's
    fused, eager = fits
    assert fused.metrics["train_loss"] == pytest.approx(eager.metrics["train_loss"], rel=1e-6)
    for key, weights in eager.state.items():
        torch.testing.assert_close(fused.state[key], weights, rtol=1e-5, atol=1e-6)


class OwnNetwork(nn.Module):
    """One that no tape holds."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Bilinear(2, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, x)


def test_what_no_compiled_operation_computes_is_trained_by_torch() -> None:
    fit = train(OwnNetwork(), surface_data(), surface_config(), Measured(score=score))
    assert fit.metrics["val_loss"] < 0.5
