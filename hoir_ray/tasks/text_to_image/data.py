"""Pixels of all pictures of a dictionary in one table; a batch is looked up in it."""

from __future__ import annotations

import base64
import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from hoir_ray.errors import DataError
from hoir_ray.pictures.colours import from_bytes, shown
from hoir_ray.pictures.coordinates import directions
from hoir_ray.pictures.load import file_stamps
from hoir_ray.pictures.quality import mse, psnr_db
from hoir_ray.tasks.text_to_image.config import (
    HASHING,
    SAMPLE_PHOTOS,
    TextToImageConfig,
    TextToImageData,
    TextToImageFacts,
)
from hoir_ray.tasks.text_to_image.dictionary import Entry, read_entries
from hoir_ray.tasks.text_to_image.embedding import check_size, embed
from hoir_ray.training.data import Batch, Samples, TaskData
from hoir_ray.wording import quoted

MAX_VAL_PIXELS = 4_000_000  # predictions and targets of all are held as floats, 24 bytes a pixel
HASHED = (
    "data.text_model 'hashing' tells captions apart by their words alone: those that share words are alike, a synonym "
    "is a stranger; a sentence-transformers model knows meaning"
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Album:
    """Captions, their embeddings, and their pictures as one run of pixels, each row by row.

    Attributes:
        sizes: Height and width of each picture in pixels.
    """

    captions: tuple[str, ...]
    dictionary: Float[Tensor, "captions embedding"]
    sizes: tuple[tuple[int, int], ...]
    colours: UInt8[Tensor, "pixels 3"]


class Pixels(Samples):
    """Inputs are the dictionary, one and the same for a whole batch, each pixel's caption number, and its position.

    Kept are three bytes a pixel and, per picture, where it lies, its width and its axes. Colours come out in [-1, 1].
    """

    dictionary: Tensor
    colours: Tensor
    ends: Tensor
    row_lengths: Tensor
    axes: Tensor
    chosen: Tensor | None

    def __init__(self, album: Album, *, num_rotations: int, per_picture: int | None = None) -> None:
        """Index every pixel, or no more than `per_picture` of each picture, evenly spread."""
        super().__init__()
        self.album = album
        lengths = torch.tensor([height * width for height, width in album.sizes])
        self.num_samples = int(lengths.sum())
        self.register_buffer("dictionary", album.dictionary)
        self.register_buffer("colours", album.colours)
        self.register_buffer("ends", lengths.cumsum(0))
        self.register_buffer("row_lengths", torch.tensor([width for _, width in album.sizes]))
        axes = [pixel_axes(height, width, num_rotations=num_rotations) for height, width in album.sizes]
        self.register_buffer("axes", torch.stack(axes))
        self.register_buffer("chosen", None)
        if per_picture is not None and int(lengths.max()) > per_picture:
            ends = zip(self.ends.tolist(), lengths.tolist(), strict=True)
            self.chosen = torch.cat([_spread(end - n, end, num=min(per_picture, n)) for end, n in ends])
            self.num_samples = len(self.chosen)

    def forward(self, index: Tensor) -> Batch:
        pixel = index if self.chosen is None else self.chosen[index]
        caption = self.picture_of(pixel)
        from_end = pixel - self.ends[caption]
        row_length = self.row_lengths[caption]
        # Counted from the picture's end, so that one table says where a picture lies: the last row is row -1.
        row = from_end.div(row_length, rounding_mode="floor")
        column = from_end - row * row_length
        by_column, by_row, origin = self.axes[caption].unbind(1)
        position = torch.addcmul(torch.addcmul(origin, by_row, row.unsqueeze(1)), by_column, column.unsqueeze(1))
        return (self.dictionary, caption, position), from_bytes(self.colours.index_select(0, pixel))

    def picture_of(self, pixel: Int64[Tensor, " batch"]) -> Int64[Tensor, " batch"]:
        return torch.bucketize(pixel, self.ends, right=True)

    def picture_of_samples(self) -> Int64[Tensor, " samples"]:
        pixel = torch.arange(self.num_samples, device=self.ends.device) if self.chosen is None else self.chosen
        return self.picture_of(pixel)


def _spread(start: int, stop: int, *, num: int) -> Tensor:
    return torch.linspace(start, stop - 1, num, dtype=torch.float64).round().long()


def pixel_axes(height: int, width: int, *, num_rotations: int) -> Float[Tensor, "3 2*{num_rotations}"]:
    """Factors and origin by which positions follow from a column and a row counted from below the picture.

    The same positions as `coordinates.pixel_positions`, for pictures too many to keep all their positions.
    """
    longest = max(height, width) - 1
    axes = torch.empty(3, 2 * num_rotations, dtype=torch.float64)
    for rotation, (cos, sin) in enumerate(directions(num_rotations)):
        for number, (along_x, along_y) in enumerate([(cos, sin), (-sin, cos)]):
            reach = (abs(along_x) * (width - 1) + abs(along_y) * (height - 1)) / longest
            by_column, by_row = 2 * along_x / longest / reach, 2 * along_y / longest / reach
            origin = -by_column * (width - 1) / 2 + by_row * (height + 1) / 2
            axes[:, 2 * rotation + number] = torch.tensor([by_column, by_row, origin], dtype=torch.float64)
    return axes.float()


def load(config: TextToImageConfig) -> TaskData:
    """Load all pixels to train on, and evenly spread ones of each picture to validate with.

    Raises:
        DataError: If the data or its embeddings are missing or broken.
    """
    data = config.data
    # What later trials may change without another album being needed is set to one value.
    album = load_album(
        data.model_copy(update={"num_rotations": 1, "val_pixels_per_picture": 1}), file_stamps(data.files)
    )
    val_pixels = max(1, min(data.val_pixels_per_picture, MAX_VAL_PIXELS // len(album.captions)))
    return TaskData(
        train=Pixels(album, num_rotations=data.num_rotations),
        val=Pixels(album, num_rotations=data.num_rotations, per_picture=val_pixels),
        facts=TextToImageFacts(
            captions=album.captions,
            sizes=tuple(f"{width}x{height}" for height, width in album.sizes),
            embeddings_f32_base64=base64.b64encode(album.dictionary.numpy().astype("<f4").tobytes()).decode(),
        ),
        notes=_notes(album, config=data),
    )


def _notes(album: Album, *, config: TextToImageData) -> tuple[str, ...]:
    """Notes on captions that the network cannot distinguish."""
    first_of: dict[bytes, str] = {}
    same = [
        f"the captions {quoted(first)} and {quoted(caption)} have the same embedding: one picture is drawn for both"
        for caption, vector in zip(album.captions, album.dictionary.numpy(), strict=True)
        if (first := first_of.setdefault(vector.tobytes(), caption)) != caption
    ]
    is_hashed = config.text_model == HASHING and config.embedding_column is None
    return (*((HASHED,) if is_hashed else ()), *same[:1], *([f"{len(same)} such pairs"] if len(same) > 1 else ()))


def num_samples(config: TextToImageConfig) -> int:
    """Pixels of all pictures; no text model is asked.

    Raises:
        DataError: If the data is missing or broken.
    """
    return sum(entry.picture.shape[0] * entry.picture.shape[1] for entry in read_entries(config.data))


@functools.lru_cache(maxsize=2)
def load_album(config: TextToImageData, stamps: tuple[tuple[int, int], ...]) -> Album:
    """Pictures and embeddings; kept for the later trials of this process as long as the files' stamps are the same."""
    entries = read_entries(config)
    return Album(
        captions=tuple(entry.caption for entry in entries),
        dictionary=_embeddings(entries, config=config),
        sizes=tuple((entry.picture.shape[0], entry.picture.shape[1]) for entry in entries),
        colours=torch.cat([entry.picture.flatten(0, 1) for entry in entries]),
    )


def _embeddings(entries: Sequence[Entry], *, config: TextToImageData) -> Float[Tensor, "captions embedding"]:
    given = [entry.embedding for entry in entries if entry.embedding is not None]
    if len(given) == len(entries):
        odd = next((vector for vector in given if len(vector) != len(given[0])), given[0])
        if len(odd) != len(given[0]):
            raise DataError(f"data.embedding_column: all must have {len(given[0])} numbers, one has {len(odd)}")
        vectors = torch.stack(given)
        check_size(vectors, config=config, source=f"data.embedding_column '{config.embedding_column}'")
        return vectors
    first = config.files[0]
    beside = None if first == SAMPLE_PHOTOS else Path(first).expanduser().parent
    return embed([entry.caption for entry in entries], config=config, beside=beside)


def dictionary_of(facts: TextToImageFacts) -> dict[str, Float[Tensor, " embedding"]]:
    """Captions and their embeddings, as a model pack remembers them."""
    stored = np.frombuffer(base64.b64decode(facts.embeddings_f32_base64), dtype="<f4")
    vectors = torch.from_numpy(stored.reshape(len(facts.captions), -1).astype(np.float32))
    return dict(zip(facts.captions, vectors, strict=True))


def score(prediction: Tensor, target: Tensor, data: TaskData) -> dict[str, float]:
    """Mean squared error over all pixels, and the mean and the lowest of the pictures' PSNRs."""
    assert isinstance(data.val, Pixels)
    picture = data.val.picture_of_samples().to(target.device)
    num_of_each = torch.bincount(picture, minlength=len(data.val.album.captions)).tolist()
    drawn = torch.split(shown(prediction), num_of_each)
    true = torch.split(shown(target), num_of_each)
    psnrs = [psnr_db(of_one, true_one) for of_one, true_one in zip(drawn, true, strict=True)]
    worst = min(range(len(psnrs)), key=psnrs.__getitem__)
    _log.info("the worst picture, at %.2f dB, is %s", psnrs[worst], quoted(data.val.album.captions[worst]))
    return {
        "val_loss": mse(prediction, target),
        "val_psnr_db": sum(psnrs) / len(psnrs),
        "val_psnr_worst_db": psnrs[worst],
    }
