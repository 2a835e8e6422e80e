"""The contract of a tracker: where a trial's curves and pictures are watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger
    from torch import Tensor


class Tracker(Protocol):
    """Watches one trial. A tracker that fails must never change or end the training it watches."""

    @property
    def logger(self) -> Logger:
        """Lightning's own interface, which carries scalars and hyperparameters."""

    def log_images(self, images: Mapping[str, Tensor], *, step: int) -> None:
        """Show named pictures, each (H, W, 3) in [0, 1], at the given epoch."""

    def close(self) -> None:
        """Flush what is pending, in bounded time."""
