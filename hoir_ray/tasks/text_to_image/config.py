"""The text_to_image task's config: where captions and pictures come from, and what turns a caption into numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from hoir_ray.config import Config, InputPaths
from hoir_ray.networks.config import LayerConfig, NetworkConfig
from hoir_ray.pictures.region import RegionText
from hoir_ray.tasks.contract import TaskConfig
from hoir_ray.training.facts import Facts

HASHING = "hashing"
PACKAGE = "package:"
SAMPLE_PHOTOS = "sample:photos"


class TextToImageData(Config):
    """Captions and pictures from parquet files such as Pick-a-Pic's; of pictures with the same caption, the first.

    Attributes:
        files: Parquet files, read in order; `sample:photos` stands for scikit-image's photographs with captions.
        caption_column: Text.
        image_column: Bytes of picture files, or structs with a field `bytes`.
        embedding_column: Lists of numbers, one list a caption; where given, no text model is needed.
        max_images: Reading stops at this many.
        max_side: Longest side in pixels that pictures are shrunk to; None keeps them as they are.
        memory_mb: Memory for the pictures, three bytes a pixel; a dictionary that needs more is refused.
        num_rotations: Pairs of axes that a position is given along; 1 is x and y.
        text_model: A sentence-transformers name or folder, `package:<name>` for an installed Python package that
            ships one, or `hashing`: words and parts of words hashed into a vector, which needs no model and knows
            nothing of meaning.
        embedding_size: Numbers in an embedding.
        allow_download: Whether a text model that is not on this machine may be fetched.
        val_pixels_per_picture: Validation looks at no more pixels than this of each picture, evenly spread, and at
            four million in all.
    """

    files: Annotated[InputPaths, Field(min_length=1)] = (SAMPLE_PHOTOS,)
    caption_column: str = "caption"
    image_column: str = "jpg_0"
    embedding_column: str | None = None
    max_images: int = Field(default=100, ge=1)
    max_side: int | None = Field(default=256, ge=2)
    memory_mb: int = Field(default=4096, ge=1)
    num_rotations: int = Field(default=1, ge=1, le=64)
    text_model: str = Field(default="all-MiniLM-L6-v2", min_length=1)
    embedding_size: int = Field(default=384, ge=1, le=65_536)
    allow_download: bool = False
    val_pixels_per_picture: int = Field(default=65_536, ge=1)

    @field_validator("text_model")
    @classmethod
    def _absolute_folder(cls, value: str) -> str:
        # A worker may start elsewhere than where the folder was named.
        folder = Path(value).expanduser()
        return str(folder.absolute()) if value != HASHING and folder.is_dir() else value


class CaptionConfig(Config):
    """Modulation of the network by a caption.

    Attributes:
        mode: `scale_shift` scales and shifts every layer's outputs by numbers that follow from the caption, `scale` and
            `shift` do one of them, `add` adds a layer of the caption to the first layer alone, as upstream does.
        size: Numbers that a caption's embedding is brought down to before it modulates; `add` does not use it.
    """

    mode: Literal["scale_shift", "scale", "shift", "add"] = "scale_shift"
    size: int = Field(default=8, ge=1, le=4096)


class CaptionedNetworkConfig(NetworkConfig):
    """A network that captions modulate; `input` describes its position layer."""

    normalizes_bounded: ClassVar[bool] = True  # captions have changed them

    caption: CaptionConfig = CaptionConfig()


class TextToImageConfig(TaskConfig):
    """Captions, positions and the network between them and colours."""

    network: CaptionedNetworkConfig = CaptionedNetworkConfig()
    data: TextToImageData = TextToImageData()

    @property
    def mlp(self) -> NetworkConfig:
        """Config of the network behind the sum of caption and position layers; its first layer is a hidden one."""
        hidden = self.network.hidden
        first = LayerConfig(**{field: getattr(hidden, field) for field in LayerConfig.model_fields})
        return self.network.model_copy(update={"input": first})


def upgrade(config: dict[str, Any]) -> dict[str, Any]:
    """Complete the config of a pack that was written before captions could modulate every layer."""
    return {**config, "network": {"caption": {"mode": "add"}, **config.get("network", {})}}


Size = Annotated[str, Field(pattern=r"^[1-9]\d{0,9}x[1-9]\d{0,9}$")]


class TextToImageFacts(Facts):
    """The dictionary.

    Attributes:
        captions: In the order of the data.
        sizes: `<width>x<height>` in pixels of each caption's picture.
        embeddings_f32_base64: Each caption's embedding as little-endian float32, one after the other.
    """

    captions: tuple[str, ...] = Field(min_length=1)
    sizes: tuple[Size, ...]
    embeddings_f32_base64: str

    @model_validator(mode="after")
    def _has_a_size_for_each_caption(self) -> TextToImageFacts:
        if len(self.sizes) != len(self.captions):
            raise ValueError(f"sizes must be as many as captions, {len(self.captions)}, got {len(self.sizes)}")
        return self


class RenderOptions(Config):
    """Options of drawing from captions.

    Attributes:
        caption: Any text; None draws every caption of the dictionary, one frame each.
        first: With `last`: draws the way from one caption to the other, both of any text. Written `--from` and `--to`.
        num_frames: Frames of that way, both ends included.
        size: `<width>x<height>` in pixels; None takes the size that the caption's picture had, or 256x256.
        region: `left,top,right,bottom` of the part to draw, each from -1 to 1; None draws the whole picture.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    caption: str | None = Field(default=None, min_length=1)
    first: str | None = Field(default=None, min_length=1, alias="from")
    last: str | None = Field(default=None, min_length=1, alias="to")
    num_frames: int = Field(default=9, ge=2, le=10_000)
    size: str | None = Field(default=None, pattern=r"^[1-9]\d{0,4}x[1-9]\d{0,4}$")
    region: RegionText | None = None

    @model_validator(mode="after")
    def _one_thing_to_draw(self) -> RenderOptions:
        if (self.first is None) != (self.last is None):
            raise ValueError("from and to go together: the captions at both ends of the way")
        if self.caption is not None and self.first is not None:
            raise ValueError("give either caption, or from and to")
        if self.region is not None and self.caption is None and self.first is None:
            raise ValueError("region is a part of one picture: name its caption")
        return self
