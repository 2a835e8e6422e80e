"""Packs in other programs' formats."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from high_order_layers_torch.layers import normalization_layers
from high_order_layers_torch.networks import HighOrderMLP

from hoir_ray.packs.pack import load_pack, write_pack
from hoir_ray.tasks import load_task
from hoir_ray.tasks.image.config import ImageFacts
from hoir_ray.tasks.text_to_image.config import TextToImageFacts
from hoir_ray.training.facts import Facts
from tests.networks.references import assert_close

NETWORKS: list[dict[str, Any]] = [
    {"layer_type": layer_type, "normalization": normalization, "input": {"segments": 9}}
    for layer_type, normalization in [
        ("continuous", "max_abs"),
        ("continuous_prod", "none"),
        ("discontinuous", "max_center"),
        ("discontinuous_prod", "max_abs"),
        ("polynomial", "l2"),
        ("product", "max_abs"),
        ("fourier", "max_abs"),
        ("linear", "layer_norm"),
    ]
] + [{"layer_type": "continuous", "input": {"layer_type": "relu"}, "hidden": {"num_layers": 0}, "periodicity": 2.0}]


def facts_of(name: str) -> Facts:
    if name == "image":
        return ImageFacts(height=8, width=8, num_pixels=64)
    return TextToImageFacts(captions=("a",), sizes=("4x4",), embeddings_f32_base64="AAAAAA==")


def pack(folder: Path, network: dict[str, Any], *, name: str = "image") -> Path:
    task = load_task(name)
    config = task.config.model_validate({"network": {"hidden": {"width": 6}, **network}})
    torch.manual_seed(0)
    trained = task.network(config)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.randn_like(parameter) / 20)
    write_pack(
        folder,
        task=task,
        config=config,
        facts=facts_of(name),
        state=trained.state_dict(),
        metrics={"val_loss": 0.5},
        preview=torch.zeros(8, 8, 3),
    )
    return folder


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: f"{n['layer_type']}-{n.get('normalization')}")
@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_what_is_printed_builds_upstreams_network(
    hoir: Any, network: dict[str, Any], name: str, tmp_path: Path
) -> None:
    folder = pack(tmp_path / "pack", network)
    said = hoir("export", folder, "--format", "upstream", "--out", name).out
    program = next(line for line in said.splitlines() if line.startswith("model = "))
    names = {
        "HighOrderMLP": HighOrderMLP,
        "normalization_layers": normalization_layers,
        "torch": torch,
        "safetensors": safetensors,
    }
    scope: dict[str, Any] = {**names}
    exec(program, scope)  # strict, as load_state_dict is
    x = torch.rand(40, 4) * 2 - 1
    with torch.no_grad():
        assert_close(load_pack(folder).network(x), scope["model"](x), tolerance=1e-4, at_least=1.0)


@pytest.mark.parametrize(
    ("network", "name", "kind", "says"),
    [
        ({"layer_type": "switch_continuous"}, "image", "upstream", "out of its state"),
        ({"layer_type": "polynomial_prod"}, "image", "upstream", "fails to build"),
        ({}, "text_to_image", "upstream", "no network like that of task 'text_to_image'"),
        ({}, "image", "upsteam", "Did you mean 'upstream'"),
    ],
)
def test_says_what_cannot_be_exported(
    hoir: Any, network: dict[str, Any], name: str, kind: str, says: str, tmp_path: Path
) -> None:
    outcome = hoir("export", pack(tmp_path / "pack", network, name=name), "--format", kind, "--out", "w.pt")
    assert outcome.code == 2
    assert re.search(says, outcome.err)
    assert not (tmp_path / "w.pt").exists()


def test_a_folder_that_cannot_be_written(hoir: Any, tmp_path: Path) -> None:
    folder = pack(tmp_path / "pack", {})
    (tmp_path / "file").write_text("")
    outcome = hoir("export", folder, "--format", "upstream", "--out", tmp_path / "file" / "w.pt")
    assert outcome.code == 2
    assert "cannot be written" in outcome.err
