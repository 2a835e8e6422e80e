"""No CPU tensor hides in the networks: with tensors that have a device but no numbers, as if a GPU were there."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from hoir_ray.networks import NetworkConfig, build_mlp
from hoir_ray.networks.config import LayerType, Normalization
from tests.networks.references import only

COMBINATIONS = list(itertools.product(get_args(LayerType), get_args(Normalization), (None, 2.0)))


@pytest.mark.fake_cuda
@pytest.mark.parametrize(("layer_type", "normalization", "periodicity"), COMBINATIONS)
def test_every_network_stays_on_its_device(
    layer_type: LayerType, normalization: Normalization, periodicity: float | None
) -> None:
    config = NetworkConfig(layer_type=layer_type, normalization=normalization, periodicity=periodicity)
    with only("torch"):
        build_mlp(config, in_width=2, out_width=3)(torch.rand(5, 2))  # numbers that are kept for later, such as nodes
    with FakeTensorMode():
        network = build_mlp(config, in_width=2, out_width=3).to("cuda")
        output = network(torch.rand(5, 2, device="cuda"))
        assert output.device.type == "cuda"
        assert output.shape == (5, 3)
