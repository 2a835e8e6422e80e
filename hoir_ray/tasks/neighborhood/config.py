"""The neighborhood task's config: which pictures, and how large the block and the ring around it are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hoir_ray.config import Config
from hoir_ray.task import TaskConfig


class NeighborhoodData(Config):
    """A ring of `outside` pixels is the feature, the `width` x `width` block inside it the target.

    Attributes:
        images: Pictures to train on: files, or `sample:<name>`.
        val_images: Other pictures to validate on as well, reported as `val_other_psnr_db`.
        max_side: Longest side in pixels that pictures are shrunk to; None keeps them as they are.
        stride: Pixels from one training position to the next, in both directions.
        val_fraction: Part of the positions that is held out for validation; 0 validates on the training positions.
        max_val_positions: Validation looks at no more positions than this, of each of the two kinds.
    """

    images: Annotated[tuple[str, ...], Field(min_length=1)] = ("sample:astronaut",)
    val_images: tuple[str, ...] = ()
    max_side: int | None = Field(default=None, ge=1)
    width: int = Field(default=3, ge=1, le=64)
    outside: int = Field(default=3, ge=1, le=64)
    stride: int = Field(default=1, ge=1)
    val_fraction: float = Field(default=0.1, ge=0, le=0.9)
    max_val_positions: int = Field(default=50_000, ge=1)

    @property
    def span(self) -> int:
        """Pixels along one side of block and ring together."""
        return self.width + 2 * self.outside

    @property
    def num_features(self) -> int:
        """Colour values of a ring."""
        return 3 * (self.span**2 - self.width**2)

    @property
    def num_targets(self) -> int:
        """Colour values of a block."""
        return 3 * self.width**2


class NeighborhoodConfig(TaskConfig):
    data: NeighborhoodData = NeighborhoodData()
