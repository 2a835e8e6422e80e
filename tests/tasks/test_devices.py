"""Training of every task on a CUDA device gives what it gives on the CPU, where its model is left, and resumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hoir_ray.tasks import load_task
from hoir_ray.tasks.fit import fit
from hoir_ray.training.loader import IndexLoader
from hoir_ray.training.loop import Fit, Hooks

TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "image": ("image", {"image": "a.png"}),
    "neighborhood": ("neighborhood", {"images": ["a.png"]}),
    "nearest": ("random_interpolation", {"folder": ".", "size": 8, "num_feature_pixels": 5}),
    "radial": ("random_interpolation", {"folder": ".", "size": 8, "num_feature_pixels": 5, "sampler": "radial"}),
    "uniform": ("random_interpolation", {"folder": ".", "size": 8, "num_feature_pixels": 5, "sampler": "uniform"}),
    "text_to_image": (
        "text_to_image",
        {"text_model": "hashing", "embedding_size": 16, "max_side": 12, "max_images": 4},
    ),
}


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate("abcdefgh"):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 20, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each device's generator draws its own permutations; here both get the CPU's."""
    draw = IndexLoader.__iter__

    def drawn_on_the_cpu(self: IndexLoader) -> Iterator[tuple[torch.Tensor, float]]:
        device, self.device = self.device, torch.device("cpu")
        for index, share in draw(self):
            yield index.to(device), share

    monkeypatch.setattr(IndexLoader, "__iter__", drawn_on_the_cpu)


def train(case: str, *, epochs: int = 2, checkpoint: Path | None = None, stop_after: int | None = None) -> Fit:
    name, data = TASKS[case]
    task = load_task(name)
    training = {"max_epochs": epochs, "batch_size": 64, "precision": "64"}
    config = task.config.model_validate({"data": data, "network": {"hidden": {"width": 6}}, "training": training})
    hooks = Hooks(checkpoint=checkpoint, on_epoch=lambda epoch: epoch.epoch != stop_after)
    return fit(task, config, task.data(config), hooks)[1]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("case", TASKS)
@pytest.mark.usefixtures("same_batches")
def test_cuda_trains_as_the_cpu_does(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on_device = train(case)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_cpu = train(case)
    assert {tensor.device.type for tensor in on_device.state.values()} == {"cpu"}
    for name, weights in on_cpu.state.items():
        torch.testing.assert_close(on_device.state[name], weights, rtol=1e-4, atol=1e-5)
    assert on_device.metrics["val_loss"] == pytest.approx(on_cpu.metrics["val_loss"], rel=1e-4)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("case", TASKS)
def test_a_training_on_cuda_resumes(case: str, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    whole = train(case, epochs=4)
    stopped = train(case, epochs=4, checkpoint=checkpoint, stop_after=2)
    assert stopped.epochs == 2
    resumed = train(case, epochs=4, checkpoint=checkpoint)
    assert resumed.epochs == 4
    for name, weights in whole.state.items():
        torch.testing.assert_close(resumed.state[name], weights, rtol=1e-4, atol=1e-5)
