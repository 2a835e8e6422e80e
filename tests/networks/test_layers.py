"""Our layers against upstream's: outputs, gradients, zeros, edges, precisions, and what they refuse."""

import copy
import itertools
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hoir_ray.networks.basis import Piecewise, nodes
from hoir_ray.networks.layers import Links, Switch, build_layer
from hoir_ray.networks.native import links as native
from hoir_ray.networks.native.library import load
from hoir_ray.networks.resolve import ResolvedLayer
from tests.networks.references import LINK_TYPES, assert_close, build_pair, only, run

PATHS = ["native", "torch"]


def inputs(batch: int, width: int, *, layer: ResolvedLayer, seed: int) -> torch.Tensor:
    """Random inputs on and beyond [-1, 1], with borders of segments, nodes and both ends among them.

    How far beyond depends on the order, so that values there are of the size of those inside, not 1e10 times larger.
    """
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(batch, width, generator=generator) * 2 - 1) * (1 + 2 / layer.num_nodes**2 / layer.segments)
    borders = torch.arange(layer.segments + 1) / float(layer.segments) * 2 - 1
    special = torch.cat([borders, torch.tensor(nodes(layer.num_nodes, torch.float32)), torch.tensor([0.0, 1.0, -1.0])])
    chosen = special[torch.randint(len(special), (batch, width), generator=generator)]
    return torch.where(torch.rand(batch, width, generator=generator) < 0.3, chosen, x)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("layer_type", LINK_TYPES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    num_nodes=st.integers(2, 31),
    segments=st.integers(1, 200),
    in_width=st.integers(1, 9),
    out_width=st.integers(1, 5) | st.integers(6, 70),
    batch=st.integers(1, 140),
    seed=st.integers(0, 2**31),
)
@example(num_nodes=3, segments=100, in_width=4, out_width=40, batch=256, seed=0)
@example(num_nodes=3, segments=2, in_width=40, out_width=40, batch=64, seed=1)
@example(num_nodes=3, segments=2, in_width=40, out_width=3, batch=130, seed=3)
@example(num_nodes=31, segments=1, in_width=4, out_width=3, batch=65, seed=2)
def test_same_numbers_as_upstream(
    path: str,
    layer_type: Any,
    num_nodes: int,
    segments: int,
    in_width: int,
    out_width: int,
    batch: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    layer = ResolvedLayer(layer_type=layer_type, num_nodes=num_nodes, segments=segments)
    ours, theirs = build_pair(layer, in_width=in_width, out_width=out_width)
    x, grad = inputs(batch, in_width, layer=layer, seed=seed), torch.randn(batch, out_width)
    with only(path):
        got = run(ours, x, grad)
    expected = run(theirs, x, grad)

    # Terms of these sizes are summed and may cancel: the error is of their size, even where the sum is small.
    weight, slope = ours.weight.abs().max().item(), grad.abs().max().item()
    steepest = weight * slope * segments * num_nodes
    one = 1.0 if layer_type.endswith("prod") or layer_type == "product" else 0.0
    for mine, upstreams, at_least in zip(got, expected, (weight + one, steepest, slope), strict=True):
        assert_close(mine, upstreams, at_least=at_least)
    if layer_type != "fourier":  # upstream's sine of a rounded pi is not zero where ours of exactly half a turn is
        assert torch.equal(got[2] == 0, expected[2] == 0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("layer_type", ["continuous", "discontinuous", "polynomial", "product"])
def test_goes_on_outside_as_upstream(path: str, layer_type: Any) -> None:
    torch.manual_seed(0)
    ours, theirs = build_pair(ResolvedLayer(layer_type=layer_type, num_nodes=3, segments=100), in_width=4, out_width=6)
    x, grad = torch.randn(200, 4) * 3, torch.randn(200, 6)
    with only(path):
        got = run(ours, x, grad)
    for mine, upstreams in zip(got, run(theirs, x, grad), strict=True):
        assert_close(mine, upstreams)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("layer_type", [name for name in LINK_TYPES if name != "fourier"])
def test_folds_inputs_as_upstream(path: str, layer_type: Any) -> None:
    torch.manual_seed(0)
    layer = ResolvedLayer(layer_type=layer_type, num_nodes=4, segments=3, periodicity=2.0)
    ours, theirs = build_pair(layer, in_width=3, out_width=5)
    x, grad = torch.rand(50, 3) * 10 - 5, torch.randn(50, 5)
    with only(path):
        got = run(ours, x, grad)
    for mine, upstreams in zip(got, run(theirs, x, grad), strict=True):
        assert_close(mine, upstreams)


def test_fourier_folds_too() -> None:
    layer = ResolvedLayer(layer_type="fourier", num_nodes=5, segments=1, periodicity=1.0)
    ours = build_layer(layer, in_width=1, out_width=2)
    x = torch.tensor([[0.3], [0.7], [1.3], [2.3]])  # mirrored at 0.5, then at 1.5, where it comes back to 0.3
    assert_close(ours(x)[1:2], ours(x)[0:1])
    assert_close(ours(x)[3:4], ours(x)[0:1])


@pytest.mark.parametrize("out_width", [1, 3, 20])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("layer_type", LINK_TYPES)
def test_float64_is_float64(path: str, layer_type: Any, out_width: int) -> None:
    torch.manual_seed(0)
    layer = ResolvedLayer(layer_type=layer_type, num_nodes=5, segments=3)
    ours = build_pair(layer, in_width=3, out_width=out_width)[0].double()
    x, grad = torch.rand(70, 3).double() * 2.2 - 1.1, torch.randn(70, out_width).double()
    with only(path):
        got = run(ours, x, grad)
    with only("torch"):
        expected = run(ours, x, grad)
    for mine, plain in zip(got, expected, strict=True):
        assert_close(mine, plain, tolerance=1e-13)


@pytest.mark.parametrize("vector_bytes", [32, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vectors_of_any_machine_give_the_same_numbers(vector_bytes: int, dtype: torch.dtype) -> None:
    kernels = load(dtype, defines=(f"VECTOR_BYTES={vector_bytes}",))
    if kernels is None:
        pytest.skip("no C compiler on this machine")
    torch.manual_seed(0)
    for layer_type, in_width, out_width in itertools.product(LINK_TYPES, (1, 6), (1, 2, 3, 4, 5, 17, 33, 64, 81, 130)):
        layer = ResolvedLayer(layer_type=layer_type, num_nodes=3, segments=2)  # type: ignore[arg-type]
        ours = build_pair(layer, in_width=in_width, out_width=out_width)[0].to(dtype)
        x, grad = torch.rand(66, in_width).to(dtype) * 2 - 1, torch.randn(66, out_width).to(dtype)
        with patch.object(native, "library", lambda _: kernels):
            got = run(ours, x, grad)
        with only("torch"):
            expected = run(ours, x, grad)
        for mine, plain in zip(got, expected, strict=True):
            assert_close(mine, plain, tolerance=1e-5 if dtype == torch.float32 else 1e-13, at_least=1.0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("layer_type", LINK_TYPES)
def test_gradients_and_their_gradients(path: str, layer_type: Any) -> None:
    torch.manual_seed(0)
    layer = ResolvedLayer(layer_type=layer_type, num_nodes=3, segments=2)
    ours = build_pair(layer, in_width=2, out_width=2)[0].double()
    x = torch.tensor([[-1.2, -0.61], [-0.33, 0.27], [0.71, 1.3]], dtype=torch.float64, requires_grad=True)

    def evaluate(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(ours, {"weight": weight}, (x,))

    weight = ours.weight.detach().clone().requires_grad_()
    with only(path):
        assert torch.autograd.gradcheck(evaluate, (x, weight))
        assert torch.autograd.gradgradcheck(evaluate, (x, weight))


@pytest.mark.parametrize("num_nodes", [65, 200, 1024])
def test_many_nodes_stay_in_range(num_nodes: int) -> None:
    """Products of more distances than float32 holds; upstream's partial products do not overflow inside [-1, 1]."""
    layer = ResolvedLayer(layer_type="polynomial", num_nodes=num_nodes, segments=1)
    ours = build_layer(layer, in_width=1, out_width=1)
    assert isinstance(ours, Links)
    positions = torch.tensor(nodes(num_nodes, torch.float32))
    with torch.no_grad():
        ours.weight.copy_(positions.sin().reshape(1, -1, 1))
        x = torch.linspace(-1, 1, 97).unsqueeze(-1)
        assert_close(ours(x), x.sin(), tolerance=1e-4)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("layer_type", LINK_TYPES)
def test_nan_and_infinity_stay_in_their_row(path: str, layer_type: Any) -> None:
    torch.manual_seed(0)
    layer = ResolvedLayer(layer_type=layer_type, num_nodes=3, segments=4)
    ours, _ = build_pair(layer, in_width=2, out_width=3)
    x = torch.rand(6, 2) - 0.5
    clean = ours(x)
    x[1, 0], x[2, 1], x[3, 0], x[4, 1] = torch.nan, torch.inf, -torch.inf, 1e30
    with only(path):
        dirty = ours(x)
    assert dirty[1].isnan().all()
    assert not dirty[2:4].isfinite().any() or layer_type == "product"
    assert_close(dirty[[0, 5]], clean[[0, 5]])


@pytest.mark.parametrize("layer_type", LINK_TYPES)
def test_autocast_computes_in_float32(layer_type: Any) -> None:
    torch.manual_seed(0)
    layer = ResolvedLayer(layer_type=layer_type, num_nodes=3, segments=50)
    ours, _ = build_pair(layer, in_width=4, out_width=8)
    x = torch.rand(20, 4) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16):
        mixed = ours(x)
        from_half = ours(x.bfloat16())
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, ours(x))
    assert torch.equal(from_half, ours(x.bfloat16().float()))
    mixed.sum().backward()
    assert ours.weight.grad is not None
    assert ours.weight.grad.dtype == torch.float32


def test_bfloat16_weights() -> None:
    layer = build_layer(ResolvedLayer(layer_type="continuous", num_nodes=3, segments=2), in_width=2, out_width=3)
    layer = layer.bfloat16()
    output = layer(torch.zeros(4, 2, dtype=torch.bfloat16))
    output.sum().backward()
    assert output.dtype == torch.bfloat16


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("layer_type", ["continuous", "polynomial_prod"])
def test_strided_inputs_and_empty_batches(path: str, layer_type: Any) -> None:
    torch.manual_seed(0)
    layer = ResolvedLayer(layer_type=layer_type, num_nodes=3, segments=4)
    ours, _ = build_pair(layer, in_width=3, out_width=5)
    x, grad = torch.rand(3, 20).T, torch.randn(1, 5).expand(20, 5)
    with only(path):
        strided = run(ours, x, grad)
        whole = run(ours, x.contiguous(), grad.contiguous())
        empty = run(ours, x[:0], grad[:0])
    assert all(torch.equal(a, b) for a, b in zip(strided, whole, strict=True))
    assert empty[0].shape == (0, 5)
    assert torch.equal(empty[2], torch.zeros_like(ours.weight))


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (torch.zeros(4, 3), r"must have the shape \[batch, 2\], got \[4, 3\]"),
        (torch.zeros(2), r"must have the shape \[batch, 2\], got \[2\]"),
        (torch.zeros(4, 2, dtype=torch.float64), "must be torch.float32, .* got torch.float64"),
        (torch.zeros(4, 2, dtype=torch.int64), "must be torch.float32, .* got torch.int64"),
        (torch.zeros(4, 2, device="meta"), "must be on cpu, .* got meta"),
    ],
)
def test_refuses_other_inputs(x: torch.Tensor, says: str) -> None:
    layer = build_layer(ResolvedLayer(layer_type="continuous", num_nodes=3, segments=2), in_width=2, out_width=1)
    with pytest.raises(ValueError, match=says):
        layer(x)


def test_both_halves_of_a_switch_train() -> None:
    layer = build_layer(ResolvedLayer(layer_type="switch_continuous", num_nodes=3, segments=2), in_width=2, out_width=3)
    assert isinstance(layer, Switch)
    first, second = layer.halves
    x = torch.rand(10, 2)
    output = layer(x)
    assert torch.equal(output, first(x) * second(x))
    output.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in layer.parameters())
    assert len(layer.state_dict()) == 2


@pytest.mark.parametrize("layer_type", ["continuous", "discontinuous", "discontinuous_prod"])
def test_starts_as_upstreams_lines(layer_type: Any) -> None:
    from high_order_layers_torch.PolynomialLayers import initialize_polynomial_layer

    layer = ResolvedLayer(layer_type=layer_type, num_nodes=4, segments=5)
    _, theirs = build_pair(layer, in_width=1, out_width=1)
    initialize_polynomial_layer(theirs, max_slope=1.0, max_offset=0.0)
    line = (theirs.w[0, 0] / theirs.w[0, 0, -1]).detach()
    ours = build_layer(layer, in_width=30, out_width=40)
    assert isinstance(ours, Links)
    slopes = ours.weight[:, -1:, :]
    assert_close(ours.weight.detach(), (slopes * line.reshape(1, -1, 1)).detach())
    assert -1 <= slopes.min() < -0.98
    assert 0.98 < slopes.max() <= 1


@pytest.mark.parametrize("layer_type", ["continuous_prod", "polynomial", "polynomial_prod", "fourier"])
def test_starts_as_upstreams_constants(layer_type: Any) -> None:
    ours = build_layer(ResolvedLayer(layer_type=layer_type, num_nodes=4, segments=5), in_width=10, out_width=100)
    assert isinstance(ours, Links)
    assert torch.equal(ours.weight, ours.weight[:, :1].expand_as(ours.weight))
    assert 0 <= ours.weight.min() < 0.001
    assert 0.099 < ours.weight.max() <= 0.1


def test_copies_are_independent_and_hold_no_other_tensors() -> None:
    layer = build_layer(ResolvedLayer(layer_type="polynomial", num_nodes=4, segments=5), in_width=2, out_width=3)
    twin = copy.deepcopy(layer)
    x = torch.rand(5, 2)
    assert torch.equal(twin(x), layer(x))
    assert [name for name, value in vars(layer).items() if isinstance(value, torch.Tensor)] == []
    assert list(layer.buffers()) == []
    assert Piecewise(3, 2, 2).num_rows == 5


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("layer_type", LINK_TYPES)
def test_cuda_gives_the_cpus_numbers(layer_type: Any) -> None:
    torch.manual_seed(0)
    layer = ResolvedLayer(layer_type=layer_type, num_nodes=5, segments=100)
    ours, _ = build_pair(layer, in_width=4, out_width=40)
    x, grad = inputs(300, 4, layer=layer, seed=0), torch.randn(300, 40)
    expected = run(ours, x, grad)
    got = run(ours.cuda(), x.cuda(), grad.cuda())
    for mine, cpus in zip(got, expected, strict=True):
        assert_close(mine.cpu(), cpus)
