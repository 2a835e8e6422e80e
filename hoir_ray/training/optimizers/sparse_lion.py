"""Lion for links of which a sample touches few weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class SparseLion(Optimizer):
    """Lion that leaves alone every weight whose gradient is exactly zero: its value, its momentum and its decay.

    Without it, a segment that no sample of the batch falls into would still move along its old momentum.

    Source: SparseLion of high-order-layers-torch 2.6.0, the same numbers but for its weight decay, which there shrinks
    a copy and so does nothing; Chen et al. 2023, arXiv 2302.06675, for Lion.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient. Masks instead of indices, so that nothing waits for the device."""
        assert closure is None, "gradients are computed before the step"
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        gradient, lr, (beta1, beta2) = weight.grad, group["lr"], group["betas"]
        assert gradient is not None
        state = self.state[weight]
        if not state:
            state["exp_avg"] = torch.zeros_like(weight)
        momentum = state["exp_avg"]
        active = (gradient != 0).to(weight.dtype)
        direction = momentum.mul(beta1).add_(gradient, alpha=1 - beta1).sign_().mul_(active)
        if group["weight_decay"]:
            weight.mul_(1 - lr * group["weight_decay"] * active)
        weight.sub_(direction.mul_(lr))
        # An inactive weight has a zero gradient, so the momentum's own new value there is beta2 times the old one.
        torch.where(active.bool(), momentum.mul(beta2).add_(gradient, alpha=1 - beta2), momentum, out=momentum)
