"""Optimizers by name, in their fused form where torch has one."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from hoir_ray.training.config import (
    AdaHessianConfig,
    AdamConfig,
    AdamWConfig,
    LionConfig,
    OptimizerConfig,
    SparseLionConfig,
)
from hoir_ray.training.optimizers.sparse_lion import SparseLion


def build_optimizer(
    parameters: Iterable[Tensor], *, config: OptimizerConfig, device: torch.device, capturable: bool = False
) -> Optimizer:
    """The optimizer that `config` names.

    Args:
        capturable: Keep the rate and the step count in tensors on the device, so that a CUDA graph can hold the step.
    """
    betas = (config.beta1, config.beta2)
    lr = torch.tensor(config.lr, device=device) if capturable else config.lr
    if isinstance(config, AdamConfig):
        return torch.optim.Adam(parameters, lr=lr, betas=betas, eps=config.eps, fused=True, capturable=capturable)
    decay = config.weight_decay
    if isinstance(config, AdamWConfig):
        return torch.optim.AdamW(
            parameters, lr=lr, betas=betas, eps=config.eps, weight_decay=decay, fused=True, capturable=capturable
        )
    if isinstance(config, SparseLionConfig):
        return SparseLion(parameters, lr=lr, betas=betas, weight_decay=decay)
    return _build_from_library(parameters, config=config, lr=lr)


def _build_from_library(
    parameters: Iterable[Tensor], *, config: LionConfig | AdaHessianConfig, lr: float | Tensor
) -> Optimizer:
    import pytorch_optimizer  # costs as long as a short trial, and the default optimizer does not need it

    betas, decay = (config.beta1, config.beta2), config.weight_decay
    if isinstance(config, LionConfig):
        return pytorch_optimizer.Lion(parameters, lr=lr, betas=betas, weight_decay=decay)
    return pytorch_optimizer.AdaHessian(
        parameters, lr=lr, betas=betas, eps=config.eps, weight_decay=decay, hessian_power=config.hessian_power
    )


def needs_second_order(config: OptimizerConfig) -> bool:
    """Return whether the gradients themselves must be differentiable."""
    return isinstance(config, AdaHessianConfig)


def settle(optimizer: Optimizer, *, device: torch.device, capturable: bool) -> None:
    """Undo what a checkpoint from another device says of where the rate is kept; a graph would freeze a number."""
    for group in optimizer.param_groups:
        rate = float(group["lr"])
        group["lr"] = torch.tensor(rate, device=device) if capturable else rate
        if "capturable" in group:
            group["capturable"] = capturable


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Give every parameter group this rate; in place where it lives on the device and a CUDA graph reads it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
