"""Data as functions of a sample's index, kept on the device: no per-sample Python, no loader processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from torch import Tensor, nn

from hoir_ray.training.facts import Facts

Batch = tuple[tuple[Tensor, ...], Tensor]


class Samples(nn.Module, ABC):
    """Indexable samples of one split; its buffers move with `.to(device)`, and whole batches are made at once."""

    num_samples: int

    @abstractmethod
    def forward(self, index: Tensor) -> Batch:
        """The batch of the samples numbered `index`.

        Args:
            index: int64 of shape (b,), values in [0, num_samples), on the samples' device.

        Returns:
            `(inputs, target)`; the target has b rows, and so has each input that is not the same for every sample.
        """

    @property
    def whole(self) -> Batch | None:
        """The batch of all samples in order, where every other batch is rows of it; None where batches are made."""
        return None

    @property
    def depends_on_order(self) -> bool:
        """Return whether batches must be drawn one by one, in the order in which they are trained on."""
        return False

    def start_epoch(self, epoch: int) -> None:
        """Prepare a training epoch before its first batch; samples that are drawn at random change with it."""


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """A task's data for training: two splits, and the facts that a model pack must remember.

    `facts` are of the task's own model, such as the picture's height and width in pixels. `notes` say in a line
    each what was taken as data and what was not.
    """

    train: Samples
    val: Samples
    facts: Facts = field(default_factory=Facts)
    notes: tuple[str, ...] = ()
