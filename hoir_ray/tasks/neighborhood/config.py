"""The neighborhood task's config: which pictures, how large block and ring are, and what `hoir render` takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hoir_ray.config import Config, InputPaths
from hoir_ray.tasks.contract import TaskConfig
from hoir_ray.training.facts import Facts


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

    images: Annotated[InputPaths, Field(min_length=1)] = ("sample:astronaut",)
    val_images: InputPaths = ()
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


class NeighborhoodFacts(Facts):
    """Numbers of positions that were trained on and held out."""

    num_train_positions: int = Field(ge=0)
    num_held_out_positions: int = Field(ge=0)


class RenderOptions(Config):
    """Options of applying the network to a picture, again and again.

    Attributes:
        input: A picture to start from (a file or `sample:<name>`), or `noise`.
        num_frames: Frames shown, the start among them.
        steps_per_frame: Applications of the network from one frame to the next.
        alpha: Part of the picture that each application keeps; 0 takes the network's blocks as they are.
        updated: Part of the pixels, drawn at random, that each application changes. Below 1 they see each other's new
            colours, and noise settles into a texture where all at once would turn it to one colour or a checkerboard.
        size: `<width>x<height>` in pixels of the noise.
        max_side: Longest side in pixels that the picture is shrunk to.
        seed: Of the noise and of the pixels that are changed.
    """

    input: str = "noise"
    num_frames: int = Field(default=9, ge=1, le=10_000)
    steps_per_frame: int = Field(default=1, ge=1)
    alpha: float = Field(default=0.75, ge=0, le=1)
    updated: float = Field(default=1, gt=0, le=1)
    size: str = Field(default="180x180", pattern=r"^[1-9]\d{0,4}x[1-9]\d{0,4}$")
    max_side: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
