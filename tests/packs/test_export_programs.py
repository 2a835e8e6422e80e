"""Networks as ONNX and as programs of torch.export, run without this package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime
import pytest
import torch

from hoir_ray.networks.config import LayerType, Normalization
from hoir_ray.packs.export import export
from hoir_ray.packs.pack import Pack
from tests.packs.made import made_pack

ALONE = """
import json, sys
import numpy as np
import torch

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "hoir_ray":
            raise ImportError("hoir_ray is not here")

sys.meta_path.insert(0, Forbidden())
about = {"hoir_ray.json": ""}
network = torch.export.load(sys.argv[1], extra_files=about).module()
inputs = [torch.from_numpy(array) for array in np.load(sys.argv[2]).values()]
np.save(sys.argv[3], network(*inputs).detach().numpy())
assert not any(name.startswith("hoir_ray") for name in sys.modules)
print(json.loads(about["hoir_ray.json"])["task"])
"""


def inputs_of(pack: Pack, rows: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    position = torch.rand(rows, 4, generator=generator) * 2 - 1
    if pack.task.name == "text_to_image":
        return {"embedding": torch.randn(1, 6, generator=generator), "position": position}
    return {"input": position}


def expected(pack: Pack, inputs: dict[str, torch.Tensor]) -> np.ndarray:
    with torch.inference_mode():
        if "embedding" in inputs:
            caption = torch.zeros(len(inputs["position"]), dtype=torch.int64)
            return pack.network(inputs["embedding"], caption, inputs["position"]).numpy()
        return pack.network(inputs["input"]).numpy()


def check_onnx(pack: Pack, file: Path) -> None:
    said = export(pack, kind="onnx", out=file)
    assert "opset 18" in said
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[-1].shape[0] == "batch"
    assert json.loads(session.get_modelmeta().custom_metadata_map["hoir_ray"])["task"] == pack.task.name
    for rows in (1, 37):  # neither is the number that it was traced with
        inputs = inputs_of(pack, rows)
        (found,) = session.run(None, {name: x.numpy() for name, x in inputs.items()})
        wanted = expected(pack, inputs)
        assert wanted.shape == found.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(wanted).max()))


@pytest.mark.slow
@pytest.mark.parametrize("layer_type", get_args(LayerType))
def test_onnxruntime_computes_the_same(tmp_path: Path, layer_type: str) -> None:
    number, norms = get_args(LayerType).index(layer_type), get_args(Normalization)
    network = {
        "layer_type": layer_type,
        "normalization": norms[number % len(norms)] if "prod" not in layer_type else "max_abs",
        "num_nodes": 2 + number % 4,
        "input": {"segments": 100 if number % 2 else 3},
        "periodicity": 3.0 if number % 3 == 0 else None,
        # FINER's frequency grows with what comes in, and the rounding of an angle with it.
        **({"omega": 3.0} if layer_type == "finer" else {}),
    }
    check_onnx(made_pack(tmp_path / "pack", network), tmp_path / "network.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["add", "scale_shift"])
def test_onnxruntime_draws_captions(tmp_path: Path, mode: str) -> None:
    pack = made_pack(tmp_path / "pack", {"caption": {"mode": mode, "size": 3}}, name="text_to_image")
    check_onnx(pack, tmp_path / "network.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "name"),
    [
        ({"layer_type": "continuous", "input": {"segments": 200}}, "image"),
        ({"layer_type": "switch_discontinuous", "normalization": "layer_norm"}, "image"),
        ({"layer_type": "fourier", "normalization": "max_center"}, "image"),
        ({"caption": {"mode": "add"}}, "text_to_image"),
    ],
)
def test_torch_loads_the_program_without_this_package(
    hoir: Any, tmp_path: Path, network: dict[str, Any], name: str
) -> None:
    pack = made_pack(tmp_path / "pack", network, name=name)
    assert (
        "torch.export.load('network.pt2')"
        in hoir("export", pack.folder, "--format", "torch", "--out", "network.pt2").out
    )
    inputs = inputs_of(pack, 23)
    np.savez(tmp_path / "inputs.npz", **{key: x.numpy() for key, x in inputs.items()})
    ran = subprocess.run(
        [sys.executable, "-c", ALONE, "network.pt2", "inputs.npz", "found.npy"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == name
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected(pack, inputs), rtol=1e-5, atol=2e-5)
