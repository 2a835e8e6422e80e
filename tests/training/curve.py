"""A small task without files: a smooth surface over a grid, learned by a two-layer network in well under a second."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hoir_ray.networks import NetworkConfig, build_mlp
from hoir_ray.pictures.quality import mse, psnr_db
from hoir_ray.training.config import TrainingConfig
from hoir_ray.training.data import Batch, Samples, TaskData
from hoir_ray.training.facts import Facts


class Surface(Samples):
    def __init__(self, num_samples: int) -> None:
        super().__init__()
        self.num_samples = num_samples
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("x", torch.rand(num_samples, 2, generator=generator) * 2 - 1)
        self.register_buffer("y", torch.stack([self.x.sin().sum(1), self.x.prod(1)], dim=1))

    x: Tensor
    y: Tensor

    def forward(self, index: Tensor) -> Batch:
        return (self.x[index],), self.y[index]


def surface_data(num_samples: int = 500) -> TaskData:
    samples = Surface(num_samples)
    return TaskData(train=samples, val=samples, facts=Facts(num_pixels=num_samples))


def surface_network(seed: int = 0) -> nn.Module:
    config = NetworkConfig.model_validate({"hidden": {"width": 8}, "segments": 4})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_mlp(config, in_width=2, out_width=2)


def surface_config(**changes: object) -> TrainingConfig:
    defaults = {"max_epochs": 4, "batch_size": 64, "optimizer": {"name": "adam", "lr": 1e-2}}
    return TrainingConfig.model_validate({**defaults, **changes})


def score(prediction: Tensor, target: Tensor, data: TaskData) -> dict[str, float]:
    return {"val_loss": mse(prediction, target), "val_psnr_db": psnr_db(prediction / 4, target / 4)}
