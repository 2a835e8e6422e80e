"""The image task's config: which picture, how large, and what `hoir render` takes."""

from __future__ import annotations

from pydantic import Field, model_validator

from hoir_ray.config import Config, InputPath
from hoir_ray.pictures.region import RegionText
from hoir_ray.tasks.contract import TaskConfig
from hoir_ray.training.facts import Facts


class ImageData(Config):
    """One picture.

    Attributes:
        image: A file that Pillow reads, or `sample:<name>` for a photograph of scikit-image's, such as
            `sample:astronaut`. Transparent parts are laid on white.
        max_side: Longest side in pixels that the picture is shrunk to; None keeps it as it is.
        num_rotations: Axis pairs that go in; 1 is (x, y), 2 adds the diagonals.
    """

    image: InputPath = "sample:astronaut"
    max_side: int | None = Field(default=None, ge=2)
    num_rotations: int = Field(default=2, ge=1, le=64)


class ImageConfig(TaskConfig):
    data: ImageData = ImageData()


class ImageFacts(Facts):
    """Height and width in pixels of the picture that was trained on."""

    height: int = Field(ge=2)
    width: int = Field(ge=2)

    @model_validator(mode="after")
    def _num_pixels_are_height_by_width(self) -> ImageFacts:
        if self.num_pixels != self.height * self.width:
            raise ValueError(f"num_pixels must be {self.height} x {self.width}, got {self.num_pixels}")
        return self


class RenderOptions(Config):
    """Options of drawing a picture.

    Attributes:
        size: `<width>x<height>` in pixels; None draws it as large as the one it was trained on.
        region: `left,top,right,bottom` of the part to draw, each from -1 to 1; None draws the whole picture.
    """

    size: str | None = Field(default=None, pattern=r"^[1-9]\d{0,4}x[1-9]\d{0,4}$")
    region: RegionText | None = None
