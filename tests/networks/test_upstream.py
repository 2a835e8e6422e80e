"""Weights to upstream's HighOrderMLP and back, and what has no place there."""

import sys
from typing import Any
from unittest.mock import patch

import pytest
import torch

from hoir_ray.errors import PackError, RequestError
from hoir_ray.networks import NetworkConfig, build_mlp
from hoir_ray.networks.upstream import from_upstream_state, to_upstream, to_upstream_state
from tests.networks.references import assert_close

CONFIGS: list[dict[str, Any]] = [
    {"input": {"segments": 100}},
    {"layer_type": "continuous_prod", "normalization": "none"},
    {"layer_type": "discontinuous", "normalization": "max_center", "num_nodes": 5},
    {"layer_type": "discontinuous_prod", "periodicity": 2.0},
    {"layer_type": "polynomial", "input": {"num_nodes": 9}, "normalization": "l2"},
    {"layer_type": "product"},
    {"layer_type": "fourier", "hidden": {"num_layers": 0}},
    {"layer_type": "linear", "input": {"layer_type": "fourier"}, "normalization": "layer_norm"},
    {"layer_type": "relu", "output": {"layer_type": "linear"}, "hidden": {"num_layers": 0}},
]


@pytest.mark.parametrize("given", CONFIGS, ids=str)
def test_same_outputs_and_weights_both_ways(given: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = NetworkConfig.model_validate(given)
    ours = build_mlp(config, in_width=4, out_width=3)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn_like(parameter) / 40)
    theirs = to_upstream(ours)
    x = torch.rand(30, 4) * 2 - 1
    assert_close(ours(x).detach(), theirs(x).detach(), tolerance=1e-4, at_least=1.0)

    state = theirs.state_dict()
    assert set(state) == set(to_upstream_state(ours))
    back = from_upstream_state(state, config=config, in_width=4, out_width=3)
    for mine, again in zip(ours.parameters(), back.parameters(), strict=True):
        assert torch.equal(mine, again)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"layer_type": "switch_continuous"}, "out of its state"),
        ({"layer_type": "polynomial", "output": {"layer_type": "linear"}}, "hidden 'polynomial' and output 'linear'"),
        ({"layer_type": "fourier", "periodicity": 2.0}, "drop periodicity"),
        ({"layer_type": "polynomial_prod"}, "fails to build"),
    ],
)
def test_refuses_what_upstream_lacks(given: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        to_upstream(build_mlp(NetworkConfig.model_validate(given), in_width=2, out_width=1))


def test_says_what_to_install() -> None:
    network = build_mlp(NetworkConfig(), in_width=2, out_width=1)
    with (
        patch.dict(sys.modules, {"high_order_layers_torch.layers": None}),
        pytest.raises(RequestError, match=r"pip install high-order-layers-torch"),
    ):
        to_upstream(network)


def test_refuses_states_of_other_networks() -> None:
    config = NetworkConfig()
    state = to_upstream_state(build_mlp(config, in_width=2, out_width=1))
    with pytest.raises(PackError, match=r"model.4.w: expected \[40, 5, 2\] as \[in, V, out\], got \[40, 5, 1\]"):
        from_upstream_state(state, config=config, in_width=2, out_width=2)
    with pytest.raises(PackError, match=r"model.0.w: not in the state"):
        from_upstream_state({}, config=config, in_width=2, out_width=1)
