"""The network as a whole: reproducible weights, and optimizers, copies and files that take it as it is."""

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from hoir_ray.networks import NetworkConfig, build_mlp
from tests.networks.references import assert_close, only

CONFIG = NetworkConfig.model_validate({"input": {"segments": 20}, "hidden": {"width": 8}})


def test_one_seed_gives_the_same_weights() -> None:
    vectors = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        vectors.append(parameters_to_vector(build_mlp(CONFIG, in_width=4, out_width=3).parameters()))
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])


def test_weights_survive_files_vectors_and_copies(tmp_path: Path) -> None:
    network = build_mlp(CONFIG, in_width=4, out_width=3)
    other = build_mlp(CONFIG, in_width=4, out_width=3)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    x = torch.rand(10, 4)
    assert torch.equal(network(x), other(x))
    vector_to_parameters(parameters_to_vector(network.parameters()) * 2, other.parameters())
    assert not torch.equal(network(x), other(x))
    assert torch.equal(network(x), copy.deepcopy(network)(x))


def test_second_derivatives_are_those_of_plain_torch() -> None:
    """What AdaHessian asks for: the gradient's own gradient along a direction, through all layers."""
    torch.manual_seed(0)
    network = build_mlp(CONFIG, in_width=4, out_width=3).double()
    parameters = list(network.parameters())
    x = (torch.rand(4, 30).double() * 2 - 1).T.requires_grad_()  # strided, so that a copy is made inside
    products = []
    for path in ("native", "torch"):
        with only(path):
            loss = network(x).square().sum()
            gradients = torch.autograd.grad(loss, [x, *parameters], create_graph=True)
            along = sum((gradient * gradient.detach().sin()).sum() for gradient in gradients)
            assert isinstance(along, torch.Tensor)
            products.append(torch.autograd.grad(along, [x, *parameters]))
    for native, plain in zip(*products, strict=True):
        assert plain.any()
        assert_close(native, plain, tolerance=1e-10)


def test_learns() -> None:
    torch.manual_seed(0)
    network = build_mlp(CONFIG, in_width=2, out_width=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    x = torch.rand(512, 2) * 2 - 1
    y = torch.sin(3 * x[:, :1]) * x[:, 1:]
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(network(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]
