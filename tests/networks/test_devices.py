"""Every network computes on the device where its weights are: seen without one on fake tensors, and on a real one."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.nn import functional

from hoir_ray.networks import NetworkConfig, build_mlp
from hoir_ray.networks.basis import Piecewise, Polynomial
from hoir_ray.networks.combine import combine
from hoir_ray.networks.config import LayerType, Normalization
from hoir_ray.networks.gpu import links
from hoir_ray.networks.native.max_abs import max_abs, plain

BATCH, IN_WIDTH, OUT_WIDTH = 8, 4, 3
PERIODS = (None, 2.0)
NETWORKS = list(itertools.product(get_args(LayerType), get_args(Normalization), PERIODS))
# A build of torch without CUDA has no gradients of CUDA tensors, fake or not; there the device is one without memory.
FAKE = "meta" if torch.version.cuda is None else "cuda"
needs_device = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def build(layer_type: str, normalization: str, periodicity: float | None) -> nn.Module:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"layer_type": layer_type, "normalization": normalization, "periodicity": periodicity}
    if "continuous" in layer_type:
        settings["input"] = {"segments": 50}  # too many for a dense table, which is another path
    return build_mlp(NetworkConfig.model_validate(settings), in_width=IN_WIDTH, out_width=OUT_WIDTH)


def run(network: nn.Module, x: Tensor, target: Tensor) -> list[Tensor]:
    """Output and gradients."""
    output = network(x)
    return [output, *torch.autograd.grad(functional.mse_loss(output, target), list(network.parameters()))]


@pytest.mark.parametrize(("layer_type", "normalization", "periodicity"), NETWORKS)
def test_no_tensor_of_the_cpu_hides_in_a_network(
    layer_type: str, normalization: str, periodicity: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if FAKE == "meta":  # torch knows of no autocast there
        monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)
    monkeypatch.setattr("hoir_ray.networks.gpu.links.compiles", lambda device: False)  # kernels take no fake tensors
    monkeypatch.setattr("hoir_ray.networks.gpu.normalization.compiles", lambda device: False)
    network = build(layer_type, normalization, periodicity)
    network(torch.rand(BATCH, IN_WIDTH))  # constants of a basis are computed once, as real numbers
    with FakeTensorMode():
        fakes = {n: torch.empty(p.shape, device=FAKE, requires_grad=True) for n, p in network.named_parameters()}
        output = functional_call(network, fakes, torch.empty(BATCH, IN_WIDTH, device=FAKE))
        assert output.shape == (BATCH, OUT_WIDTH)
        loss = functional.mse_loss(output, torch.empty(BATCH, OUT_WIDTH, device=FAKE))
        found = [output, *torch.autograd.grad(loss, list(fakes.values()))]
        assert {tensor.device.type for tensor in found} == {FAKE}


def test_a_tensor_of_the_cpu_would_be_seen() -> None:
    with FakeTensorMode(), pytest.raises(RuntimeError, match="same device"):
        torch.empty(BATCH, device=FAKE) + torch.empty(BATCH)


@pytest.mark.cuda
@needs_device
@pytest.mark.parametrize(("layer_type", "normalization", "periodicity"), NETWORKS)
def test_cuda_gives_the_cpus_outputs_and_gradients(
    layer_type: str, normalization: str, periodicity: float | None
) -> None:
    network = build(layer_type, normalization, periodicity).double()
    x = torch.rand(300, IN_WIDTH, dtype=torch.float64) * 2 - 1
    target = torch.rand(300, OUT_WIDTH, dtype=torch.float64)
    expected = run(network, x, target)
    got = run(network.cuda(), x.cuda(), target.cuda())
    for ours, cpus in zip(got, expected, strict=True):
        torch.testing.assert_close(ours.cpu(), cpus, rtol=1e-8, atol=1e-10)


@pytest.mark.cuda
@needs_device
@pytest.mark.parametrize("num_outputs", [1, 3, 20, 70, 128])
@pytest.mark.parametrize(
    "basis",
    [
        Piecewise(3, 100, stride=2),
        Piecewise(2, 7, stride=2),
        Piecewise(8, 300, stride=7),
        Polynomial(4),
        Piecewise(3, 1, 2),
    ],
)
def test_kernels_give_the_numbers_of_plain_torch(basis: Piecewise | Polynomial, num_outputs: int) -> None:
    torch.manual_seed(0)
    x = torch.rand(1000, 5) * 2.4 - 1.2
    x[0] = torch.tensor([-1.0, 1.0, 0.0, 2 / 7, 40.0])
    table, grad = torch.randn(5, basis.num_rows, num_outputs), torch.randn(1000, num_outputs)
    assert links.takes(x.cuda(), table.cuda(), basis=basis, join="sum")
    found = []
    for way, dtype, device in ((links.evaluate, torch.float32, "cuda"), (combine, torch.float64, "cpu")):
        given = [t.to(device, dtype).requires_grad_() for t in (x, table)]
        output = way(*given, basis=basis, join="sum")
        found.append([output.detach(), *torch.autograd.grad(output, given, grad.to(device, dtype))])
    for ours, expected in zip(*found, strict=True):
        # Where a value lies in a narrow segment is known to a few parts in a hundred thousand.
        assert float((ours.double().cpu() - expected).abs().max() / expected.abs().max()) < 1e-4


@pytest.mark.cuda
@needs_device
@pytest.mark.parametrize("width", [1, 12, 40, 1024, 1025])
def test_the_normalizing_kernel_gives_the_numbers_of_plain_torch(width: int) -> None:
    torch.manual_seed(0)
    x, grad = torch.randn(1000, width), torch.randn(1000, width)
    x[0], x[1, 0] = 0.0, float("nan")
    found = []
    for way, device in ((max_abs, "cuda"), (plain, "cpu")):
        given = x.to(device).requires_grad_()
        output = way(given)
        found.append((output.detach().cpu(), torch.autograd.grad(output, given, grad.to(device))[0].cpu()))
    torch.testing.assert_close(found[0][0], found[1][0], equal_nan=True)
    ours, expected = (gradient[2:] for _, gradient in found)
    assert float((ours - expected).abs().max()) <= 1e-5 * float((grad[2:] / x[2:]).abs().max())


@pytest.mark.cuda
@needs_device
def test_kernels_give_the_same_numbers_twice_and_can_be_differentiated_twice() -> None:
    network = build("continuous", "max_abs", None).cuda()
    x, target = torch.rand(5000, IN_WIDTH).cuda(), torch.rand(5000, OUT_WIDTH).cuda()
    for once, again in zip(run(network, x, target), run(network, x, target), strict=True):
        assert torch.equal(once, again)
    loss = functional.mse_loss(network(x), target)
    slopes = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
    twice = torch.autograd.grad(torch.stack([s.square().sum() for s in slopes]).sum(), list(network.parameters()))
    assert all(bool(t.isfinite().all()) for t in twice)
