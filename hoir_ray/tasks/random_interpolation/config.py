"""The random_interpolation task's config: which folder, how pixels are drawn, and what `hoir render` takes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from hoir_ray.config import Config, InputPath
from hoir_ray.tasks.contract import TaskConfig
from hoir_ray.training.facts import Facts

SAMPLE_PHOTOS = "sample:photos"


class RandomInterpolationData(Config):
    """The colour of a pixel is the target; colours and relative positions of random pixels around it are the features.

    Attributes:
        folder: Pictures (jpg, jpeg, png) in it and below it; `sample:photos` stands for scikit-image's photographs.
        size: Side in pixels that the middle of each picture is scaled to.
        num_feature_pixels: Pixels that the target is guessed from.
        num_rotations: Pairs of axes that a relative position is given along; 1 is x and y.
        sampler: `nearest` draws the pixels nearest to the target in a picture of which a random part is known, from a
            few pixels to all of them, and learns a colour's mean and spread: with it pictures can be drawn from noise,
            coarse to fine. `radial` draws a radius and an angle, so that pixels lie denser near the target, mirrored at
            the picture's borders; `uniform` draws from the whole picture. The target itself is never drawn.
        random_flips: Whether half of the training samples see their picture mirrored from left to right.
        train_fraction: Part of the pictures that is trained on; half of the rest validates, the other half is the
            test split.
        validate_on: The split that `val_` metrics are of; `test` is for `hoir evaluate`.
        samples_per_picture: Targets in each picture per epoch; None takes every pixel.
        val_samples_per_picture: Targets in each picture of the validation split.
        cache_mb: Memory for pictures. A larger folder streams through it, each picture once an epoch.
    """

    folder: InputPath = SAMPLE_PHOTOS
    size: int = Field(default=64, ge=4, le=2048)
    num_feature_pixels: int = Field(default=32, ge=1, le=4096)
    num_rotations: int = Field(default=2, ge=1, le=64)
    sampler: Literal["nearest", "radial", "uniform"] = "nearest"
    random_flips: bool = True
    train_fraction: float = Field(default=0.8, gt=0, lt=1)
    validate_on: Literal["val", "test"] = "val"
    samples_per_picture: int | None = Field(default=None, ge=1)
    val_samples_per_picture: int = Field(default=512, ge=1)
    cache_mb: int = Field(default=1024, ge=1)

    @property
    def num_features(self) -> int:
        """Colours and relative positions of all feature pixels; for `nearest` also how far away they lie."""
        return self.num_feature_pixels * (3 + 2 * self.num_rotations) + (self.sampler == "nearest")

    @property
    def num_outputs(self) -> int:
        """Red, green and blue; for `nearest` also their squares, whose mean beyond the mean's square is the spread."""
        return 6 if self.sampler == "nearest" else 3


class RandomInterpolationConfig(TaskConfig):
    data: RandomInterpolationData = RandomInterpolationData()


class RandomInterpolationFacts(Facts):
    """Numbers of pictures in each split, and for the sampler `nearest` where drawings from noise begin.

    Attributes:
        layout_f32_base64: As `growth.layout_of` gives it; None for the other samplers.
    """

    num_train_pictures: int = Field(ge=0)
    num_val_pictures: int = Field(ge=0)
    num_test_pictures: int = Field(ge=0)
    layout_f32_base64: str | None = None


class RenderOptions(Config):
    """Options of drawing a picture from noise, or from random pixels of another picture.

    Attributes:
        input: A picture to start from (a file or `sample:<name>`), or `noise`.
        num_frames: Frames shown, the start among them.
        all_random: Whether each frame is drawn from the start (from noise, each time other noise) with other random
            pixels; else frames show one picture as it is drawn, or for other samplers than `nearest` drawn again and
            again from the frame before.
        known: For `nearest`: part of a picture's pixels that is known at the start.
        temperature: For `nearest`: how much of the spread is drawn, 0 for the mean, which is the best guess and blurs;
            None is 1 from noise and 0 from a picture.
        size: `<side>x<side>` in pixels; None takes the side that the network was trained with.
        seed: Of the noise and of the pixels that are drawn.
    """

    input: str = "noise"
    num_frames: int = Field(default=9, ge=1, le=10_000)
    all_random: bool = False
    known: float = Field(default=0.1, gt=0, le=1)
    temperature: float | None = Field(default=None, ge=0, le=4)
    size: str | None = Field(default=None, pattern=r"^[1-9]\d{0,3}x[1-9]\d{0,3}$")
    seed: int = Field(default=0, ge=0)

    @field_validator("size")
    @classmethod
    def _square(cls, value: str | None) -> str | None:
        width, _, height = (value or "4x4").partition("x")
        if width != height or int(width) < 4:
            raise ValueError("must be a square of at least 4x4, such as 64x64")
        return value
