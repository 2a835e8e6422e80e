"""The text_to_image task's config: where captions and pictures come from, and what turns a caption into numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from hoir_ray.config import Config, InputPaths
from hoir_ray.networks.config import LayerConfig, NetworkConfig
from hoir_ray.tasks.contract import TaskConfig

HASHING = "hashing"
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
        num_rotations: Pairs of axes that a position is given along; 1 is x and y.
        text_model: A sentence-transformers name or folder, or `hashing`: words and parts of words hashed into a
            vector, which needs no model and knows nothing of meaning.
        embedding_size: Numbers in an embedding.
        allow_download: Whether a text model that is not on this machine may be fetched.
        val_pixels_per_picture: Validation looks at no more pixels than this of each picture, evenly spread.
    """

    files: Annotated[InputPaths, Field(min_length=1)] = (SAMPLE_PHOTOS,)
    caption_column: str = "caption"
    image_column: str = "jpg_0"
    embedding_column: str | None = None
    max_images: int = Field(default=100, ge=1)
    max_side: int | None = Field(default=256, ge=2)
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


class TextToImageConfig(TaskConfig):
    """`network.input` describes the position layer; the caption layer's links are always straight lines."""

    data: TextToImageData = TextToImageData()

    @property
    def mlp(self) -> NetworkConfig:
        """Config of the network behind the sum of caption and position layers; its first layer is a hidden one."""
        hidden = self.network.hidden
        first = LayerConfig(layer_type=hidden.layer_type, num_nodes=hidden.num_nodes, segments=hidden.segments)
        return self.network.model_copy(update={"input": first})


class RenderOptions(Config):
    """Options of drawing from captions.

    Attributes:
        caption: Any text; None draws every caption of the dictionary, one frame each.
        size: `<width>x<height>` in pixels; None takes the size that the caption's picture had, or 256x256.
    """

    caption: str | None = Field(default=None, min_length=1)
    size: str | None = Field(default=None, pattern=r"^[1-9]\d{0,4}x[1-9]\d{0,4}$")
