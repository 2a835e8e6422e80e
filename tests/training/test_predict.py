"""Predictions of a whole split in one compiled call, against the network itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hoir_ray.networks.native.library import library
from hoir_ray.networks.recorded.program import build_program
from hoir_ray.training import predict as module
from hoir_ray.training.data import Batch, Samples
from hoir_ray.training.predict import predict
from tests.training.curve import surface_network

NUM_SAMPLES = 150


class Kept(Samples):
    """Samples whose every batch is rows of one tensor."""

    def __init__(self, inputs: Tensor, target: Tensor) -> None:
        super().__init__()
        self.num_samples = len(inputs)
        self.register_buffer("inputs", inputs)
        self.register_buffer("target", target)

    def forward(self, index: Tensor) -> Batch:
        return (self.whole[0][0][index],), self.whole[1][index]

    @property
    def whole(self) -> Batch:
        return (self.get_buffer("inputs"),), self.get_buffer("target")


def kept_samples(network: nn.Module) -> Kept:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(NUM_SAMPLES, 2, generator=generator) * 2 - 1
    with torch.no_grad():
        return Kept(x, network(x) + 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("call_rows", [64, 100, NUM_SAMPLES, 1000])
def test_parts_of_a_call_make_the_whole(call_rows: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALL_ROWS", call_rows)
    network = surface_network()
    samples = kept_samples(network)
    network.to(dtype).train()
    prediction, target = predict(network, samples)
    assert prediction.dtype == target.dtype == torch.float32
    assert network.training
    torch.testing.assert_close(prediction, target - 1, rtol=1e-5, atol=1e-5)


def test_without_a_compiler_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    network = surface_network()
    samples = kept_samples(network)
    compiled, _ = predict(network, samples)
    monkeypatch.setattr(module, "build_program", lambda *_, **__: None)
    plain, _ = predict(network, samples, max_rows=64)
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(library(torch.float32) is None, reason="no C compiler on this machine")
@pytest.mark.parametrize(
    "outputs", [torch.empty(4, 2), torch.empty(3, 2, dtype=torch.float64), torch.empty(2, 3).T, torch.empty(3, 1)]
)
def test_memory_that_does_not_fit_the_outputs_is_refused(outputs: Tensor) -> None:
    x = torch.zeros(3, 2)
    program = build_program(surface_network(), (x,), num_rows=3)
    assert program is not None
    with pytest.raises(ValueError, match=r"outputs must be contiguous, torch\.float32 \[3, 2\], got"):
        program.predict(program.inputs((x,)), outputs=outputs)
