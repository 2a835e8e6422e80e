"""Layers of waves against plain formulas, their first weights, their count, and what has no meaning for them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from hoir_ray.errors import RequestError
from hoir_ray.networks import NetworkConfig, build_mlp, num_parameters
from hoir_ray.networks.mlp import MLP
from hoir_ray.networks.recorded.program import build_program
from hoir_ray.networks.resolve import unused_fields
from hoir_ray.networks.upstream import to_upstream
from hoir_ray.networks.waves import Wave

FORMULAS = {
    "sine": lambda z, omega, scale: math.sin(omega * z),
    "finer": lambda z, omega, scale: math.sin(omega * (abs(z) + 1) * z),
    "gabor": lambda z, omega, scale: math.cos(omega * z) * math.exp(-((scale * z) ** 2)),
}


def build(layer_type: str, **settings: Any) -> MLP:
    torch.manual_seed(0)
    config = NetworkConfig.model_validate({"layer_type": layer_type, **settings})
    network = build_mlp(config, in_width=2, out_width=3)
    assert sum(p.numel() for p in network.parameters()) == num_parameters(config, in_width=2, out_width=3)
    return network


def waves_of(network: nn.Module) -> list[Wave]:
    return [part for part in network.modules() if isinstance(part, Wave)]


@pytest.mark.parametrize("layer_type", FORMULAS)
def test_a_network_is_its_formula(layer_type: str) -> None:
    network = build(layer_type, omega=7.0, scale=2.0, hidden={"width": 5, "num_layers": 2, "omega": 3.0}).double()
    x = torch.rand(4, 2, dtype=torch.float64) * 2 - 1
    first, *hidden = waves_of(network)
    last = next(part for part in reversed(list(network.modules())) if isinstance(part, nn.Linear))
    for row, output in zip(x.tolist(), network(x).tolist(), strict=True):
        for layer, omega in ((first, 7.0), *((h, 3.0) for h in hidden)):
            weight, bias = layer.linear.weight.tolist(), layer.linear.bias.tolist()
            sums = [sum(w * v for w, v in zip(ws, row, strict=True)) + b for ws, b in zip(weight, bias, strict=True)]
            row = [FORMULAS[layer_type](z, omega, 2.0) for z in sums]
        weight, bias = last.weight.tolist(), last.bias.tolist()
        expected = [sum(w * v for w, v in zip(ws, row, strict=True)) + b for ws, b in zip(weight, bias, strict=True)]
        assert output == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("layer_type", ["sine", "finer"])
def test_first_weights_are_those_of_the_paper(layer_type: str) -> None:
    network = build(layer_type, omega=30.0, bias_range=4.0, hidden={"width": 256, "num_layers": 2})
    first, second, _ = waves_of(network)
    last = network.layers[-1]
    for weight, bound in (
        (first.linear.weight, 1 / 2),
        (second.linear.weight, math.sqrt(6 / 256) / 30),
        (last.weight, math.sqrt(6 / 256) / 30),
    ):
        assert 0.97 * bound < float(weight.detach().abs().max()) <= bound
    largest_bias = float(first.linear.bias.detach().abs().max())
    assert largest_bias > 3.9 if layer_type == "finer" else largest_bias <= 1 / math.sqrt(2)


def test_of_sines_values_keep_their_spread_from_layer_to_layer() -> None:
    network = build("sine", hidden={"width": 256, "num_layers": 6})
    spreads, value = [], torch.rand(2000, 2) * 2 - 1
    for part in waves_of(network):
        value = part(value).detach()
        spreads.append(float(value.std()))
    assert all(0.6 < spread < 0.8 for spread in spreads)  # an arcsine distribution's is 0.707


@pytest.mark.parametrize("layer_type", FORMULAS)
def test_gradients_are_those_of_the_formula(layer_type: str) -> None:
    network = build(layer_type, omega=3.0, scale=1.0, hidden={"width": 4}).double()
    x = (torch.rand(3, 2, dtype=torch.float64) * 2 - 1).requires_grad_()
    assert torch.autograd.gradcheck(network, (x,))
    assert torch.autograd.gradgradcheck(network, (x,))


def test_no_normalization_stands_behind_a_wave_and_half_precision_is_computed_in_float32() -> None:
    network = build("sine", hidden={"num_layers": 2})
    assert [type(part).__name__ for part in network.layers] == ["Wave", "Wave", "Wave", "Linear"]
    mixed = build("continuous", input={"layer_type": "sine"}, hidden={"num_layers": 1})
    assert [type(part).__name__ for part in mixed.layers] == ["Wave", "Links", "MaxAbs", "Links"]
    wave, x = waves_of(network)[0], torch.rand(5, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(wave(x), wave(x.float()))
    half = wave.bfloat16()
    rounded = torch.sin(30.0 * nn.functional.linear(x, half.linear.weight.float(), half.linear.bias.float()))
    torch.testing.assert_close(half(x.bfloat16()).float(), rounded, atol=0.2, rtol=0.1)


def test_settings_that_nothing_reads_are_named() -> None:
    def unused(**settings: Any) -> list[str]:
        return unused_fields(NetworkConfig.model_validate(settings))

    assert unused(layer_type="sine", omega=20.0) == []
    assert unused(layer_type="sine", scale=3.0) == ["network.scale"]
    assert unused(layer_type="continuous", omega=20.0) == ["network.omega"]
    assert unused(layer_type="sine", bias_range=2.0) == ["network.bias_range"]
    assert unused(layer_type="finer", bias_range=2.0) == []
    assert unused(layer_type="gabor", segments=4) == ["network.segments"]
    assert unused(layer_type="sine", normalization="l2") == ["network.normalization"]


def test_a_config_without_waves_is_written_as_before() -> None:
    text = NetworkConfig().model_dump_json()
    assert "omega" not in text
    assert "scale" not in text
    with_waves = NetworkConfig.model_validate({"layer_type": "gabor", "omega": 12.0, "hidden": {"scale": 4.0}})
    assert NetworkConfig.model_validate_json(with_waves.model_dump_json()) == with_waves


def test_upstream_and_the_compiled_steps_know_no_waves() -> None:
    with pytest.raises(RequestError, match="upstream has no layers of type 'sine'"):
        to_upstream(build("sine"))
    assert build_program(build("sine"), (torch.rand(4, 2),), num_rows=4) is None
