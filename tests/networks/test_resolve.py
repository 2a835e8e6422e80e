"""Fallbacks, the closed form of the parameter count, and fields that change nothing."""

from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hoir_ray.networks import NetworkConfig, build_mlp, num_parameters, resolve, unused_fields
from hoir_ray.networks.config import LayerType, Normalization

LAYER_TYPES = get_args(LayerType)
OWN_TYPE = st.none() | st.sampled_from(LAYER_TYPES)
OWN_COUNT = st.none() | st.integers(2, 6)


@st.composite
def configs(draw: st.DrawFn) -> NetworkConfig:
    def layer(types: st.SearchStrategy[str | None] = OWN_TYPE) -> dict[str, Any]:
        own = {"layer_type": draw(types), "num_nodes": draw(OWN_COUNT), "segments": draw(OWN_COUNT)}
        return {key: value for key, value in own.items() if value is not None}

    return NetworkConfig.model_validate(
        {
            "layer_type": draw(st.sampled_from(LAYER_TYPES)),
            "num_nodes": draw(st.integers(2, 6)),
            "segments": draw(st.integers(1, 6)),
            "input": layer(),
            "hidden": {**layer(), "width": draw(st.integers(1, 7)), "num_layers": draw(st.integers(0, 3))},
            "output": layer(st.none() | st.sampled_from([name for name in LAYER_TYPES if name != "relu"])),
            "normalization": draw(st.sampled_from(get_args(Normalization))),
            "periodicity": draw(st.none() | st.just(2.0)),
        }
    )


@settings(max_examples=150, deadline=None)
@given(config=configs(), in_width=st.integers(1, 5), out_width=st.integers(1, 5))
def test_count_is_that_of_the_network(config: NetworkConfig, in_width: int, out_width: int) -> None:
    network = build_mlp(config, in_width=in_width, out_width=out_width)
    trainable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    assert num_parameters(config, in_width=in_width, out_width=out_width) == trainable
    output = network(torch.rand(3, in_width) * 2 - 1)
    assert output.shape == (3, out_width)
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_upstreams_readme_network_has_40760_parameters() -> None:
    config = NetworkConfig.model_validate({"input": {"segments": 100}})
    assert num_parameters(config, in_width=4, out_width=3) == 40_760


def test_layers_fall_back_to_the_network() -> None:
    config = NetworkConfig.model_validate(
        {"layer_type": "polynomial", "num_nodes": 5, "input": {"layer_type": "fourier", "num_nodes": 31}}
    )
    first, hidden, last = resolve(config)
    assert (first.layer_type, first.num_nodes) == ("fourier", 31)
    assert (hidden.layer_type, hidden.num_nodes) == (last.layer_type, last.num_nodes) == ("polynomial", 5)


def test_relu_behind_a_fourier_layer_ends_linear() -> None:
    config = NetworkConfig.model_validate({"layer_type": "relu", "input": {"layer_type": "fourier"}})
    assert [layer.layer_type for layer in resolve(config)] == ["fourier", "relu", "linear"]
    assert (build_mlp(config, in_width=2, out_width=50)(torch.rand(50, 2)) < 0).any()


@pytest.mark.parametrize(
    ("given", "unused"),
    [
        ({}, []),
        ({"num_nodes": 4, "segments": 4, "periodicity": 2.0}, []),
        ({"input": {"layer_type": "fourier", "segments": 9, "num_nodes": 7}}, ["network.input.segments"]),
        ({"layer_type": "linear", "periodicity": 2.0}, ["network.periodicity"]),
        ({"layer_type": "relu", "num_nodes": 4}, ["network.num_nodes"]),
        ({"hidden": {"num_layers": 0, "segments": 3}}, ["network.hidden.segments"]),
        ({"hidden": {"num_layers": 0, "layer_type": "relu"}}, ["network.hidden.layer_type"]),
        (
            {"segments": 9, "input": {"segments": 1}, "hidden": {"segments": 2}, "output": {"segments": 3}},
            ["network.segments"],
        ),
        ({"layer_type": "product", "segments": 9}, ["network.segments"]),
        (
            {"layer_type": "polynomial", "input": {"layer_type": "linear"}, "hidden": {"layer_type": "linear"}},
            [],
        ),
    ],
)
def test_names_fields_that_change_nothing(given: dict[str, Any], unused: list[str]) -> None:
    assert unused_fields(NetworkConfig.model_validate(given)) == unused


CHANGES: list[dict[str, Any]] = [
    {"layer_type": "discontinuous"},
    {"num_nodes": 4},
    {"segments": 3},
    {"normalization": "l2"},
    {"normalization": "max_center"},
    {"normalization": "layer_norm"},
    {"normalization": "none"},
    {"periodicity": 0.5},
    *({role: {field: value}} for role in ("input", "hidden", "output")
      for field, value in (("layer_type", "fourier"), ("num_nodes", 5), ("segments", 4))),
    {"hidden": {"width": 9}},
    {"hidden": {"num_layers": 2}},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_field_changes_the_network(change: dict[str, Any]) -> None:
    plain, changed = NetworkConfig(), NetworkConfig.model_validate(change)
    assert unused_fields(changed) == []
    x = torch.linspace(-1, 1, 40).reshape(20, 2)
    sizes, outputs = [], []
    for config in (plain, changed):
        torch.manual_seed(0)
        network = build_mlp(config, in_width=2, out_width=3)
        sizes.append(sum(parameter.numel() for parameter in network.parameters()))
        outputs.append(network(x))
    assert sizes[0] != sizes[1] or not torch.allclose(outputs[0], outputs[1], atol=1e-3)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"layer_type": "baseline"}, "write 'linear'"),
        ({"input": {"layer_type": "baseline_relu"}}, "write 'relu'"),
        ({"layer_type": "polynomial_3d"}, "grouped in 3 dimensions.*write 'polynomial'"),
        ({"layer_type": "resnet"}, "never train"),
        ({"resnet": True}, "never train; leave the key out"),
        ({"output": {"layer_type": "relu"}}, "write 'linear'"),
        ({"num_nodes": 1}, "greater than or equal to 2"),
        ({"segments": 0}, "greater than or equal to 1"),
    ],
)
def test_refuses_by_name_and_says_what_to_write(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        NetworkConfig.model_validate(given)
