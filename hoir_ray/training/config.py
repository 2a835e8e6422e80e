"""The config of training: epochs, batch size, optimizer, schedule and early stopping."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from hoir_ray.config import Config

LearningRate = Annotated[float, Field(gt=0, le=100)]
Beta = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0)]


class AdamConfig(Config):
    """The rate and beta2 are those that drew pictures best in 5 epochs, over five layer types."""

    name: Literal["adam"] = "adam"
    lr: LearningRate = 1e-2
    beta1: Beta = 0.9
    beta2: Beta = 0.99
    eps: Annotated[float, Field(gt=0)] = 1e-8


class AdamWConfig(Config):
    name: Literal["adamw"]
    lr: LearningRate = 1e-2
    beta1: Beta = 0.9
    beta2: Beta = 0.99
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: NonNegative = 1e-2


class LionConfig(Config):
    name: Literal["lion"]
    lr: LearningRate = 1e-4
    beta1: Beta = 0.9
    beta2: Beta = 0.99
    weight_decay: NonNegative = 0.0


class SparseLionConfig(Config):
    """Lion that leaves alone every weight whose gradient is exactly zero: segments without samples stay as they are."""

    name: Literal["sparse_lion"]
    lr: LearningRate = 1e-4
    beta1: Beta = 0.9
    beta2: Beta = 0.99
    weight_decay: NonNegative = 0.0


class AdaHessianConfig(Config):
    name: Literal["adahessian"]
    lr: LearningRate = 0.1
    beta1: Beta = 0.9
    beta2: Beta = 0.999
    eps: Annotated[float, Field(gt=0)] = 1e-4
    weight_decay: NonNegative = 0.0
    hessian_power: Annotated[float, Field(gt=0, le=1)] = 1.0


OptimizerConfig = Annotated[
    AdamConfig | AdamWConfig | LionConfig | SparseLionConfig | AdaHessianConfig, Field(discriminator="name")
]


class NoSchedule(Config):
    name: Literal["none"]


class CosineSchedule(Config):
    """From the optimizer's rate to `final_fraction` of it along half a cosine, stepped every optimizer step."""

    name: Literal["cosine"] = "cosine"
    final_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0


class ExponentialSchedule(Config):
    """The rate times `gamma` after every epoch."""

    name: Literal["exponential"]
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.9


class PlateauSchedule(Config):
    """The rate times `factor` after `patience` epochs without a lower training loss."""

    name: Literal["plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=0)] = 5


SchedulerConfig = Annotated[
    NoSchedule | CosineSchedule | ExponentialSchedule | PlateauSchedule, Field(discriminator="name")
]


class EarlyStoppingConfig(Config):
    """Stop after `patience` epochs in which `metric` has not improved by `min_delta`."""

    metric: str = "val_loss"
    goal: Literal["minimize", "maximize"] = "minimize"
    patience: Annotated[int, Field(ge=1)] = 10
    min_delta: NonNegative = 0.0


class QuantizationConfig(Config):
    """Training on under rounding, for the network's stored form: its one small file.

    Attributes:
        fraction: Optimizer steps, as a part of those of the training before; 0 only searches the tensors' steps.
        lr: Adam's rate, falling to zero along half a cosine.
        trade: How much a percent of the file's bytes is worth, in percent of the picture's error.
    """

    fraction: Annotated[float, Field(ge=0, le=10)] = 0.2
    lr: LearningRate = 5e-4
    trade: Annotated[float, Field(ge=2.0**-8, le=2.0**12)] = 1.0


class TrainingConfig(Config):
    """Settings of training that are the same for every task.

    `batch_size` is the global one, over all workers of a trial. `val_every_epochs` spaces out validation, whose cost
    is that of a forward pass over the validation data; the last epoch is always validated. `quantization` changes the
    stored form alone, never the model pack.
    """

    max_epochs: int = Field(default=20, ge=1, le=1_000_000)
    batch_size: int = Field(default=256, ge=1, le=2**24)
    seed: int = Field(default=0, ge=0, lt=2**32)
    precision: Literal["32", "64", "bf16"] = "32"
    val_every_epochs: int = Field(default=1, ge=1)
    optimizer: OptimizerConfig = AdamConfig()
    scheduler: SchedulerConfig = CosineSchedule()
    early_stopping: EarlyStoppingConfig | None = None
    quantization: QuantizationConfig | None = None

    @field_validator("optimizer", "scheduler", mode="before")
    @classmethod
    def _default_kind(cls, value: object, info: ValidationInfo) -> object:
        """`optimizer: {lr: 0.01}` without a name is the default optimizer with that rate."""
        if isinstance(value, dict) and "name" not in value:
            return {"name": cls.model_fields[str(info.field_name)].default.name, **value}
        return value
