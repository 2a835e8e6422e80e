"""Patches of pictures, cut from the pixels when a batch asks for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int32, Int64, UInt8
from torch import Tensor

from hoir_ray.errors import DataError
from hoir_ray.pictures.colours import from_bytes, shown
from hoir_ray.pictures.load import load_picture
from hoir_ray.pictures.quality import mse, psnr_db
from hoir_ray.tasks.neighborhood.config import NeighborhoodConfig, NeighborhoodData, NeighborhoodFacts
from hoir_ray.training.data import Batch, Samples, TaskData

MAX_PIXELS = 2**31 - 1  # numbered with 32 bits


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Several pictures, one below the other in one as wide as the widest, and where in it every patch starts.

    Attributes:
        pixels: RGB bytes row by row; what is right of a narrower picture is never read.
        row_length: Width in pixels.
        starts: Number of the pixel at the top left of each patch.
        first_size: Height and width of the first picture.
    """

    pixels: UInt8[Tensor, " bytes"]
    row_length: int
    starts: Int32[Tensor, " positions"]
    first_size: tuple[int, int]


class Patches(Samples):
    """Features are the ring of a patch, targets its block, both row by row with r g b together, in [-1, 1].

    Kept are the pixels and four bytes for each position, not the patches, which would be hundreds of bytes each.
    """

    pixels: Tensor
    starts: Tensor
    ring: Tensor
    block: Tensor

    def __init__(self, gallery: Gallery, positions: Int64[Tensor, " samples"], *, config: NeighborhoodData) -> None:
        super().__init__()
        self.config, self.gallery = config, gallery
        self.num_samples = len(positions)
        self.register_buffer("pixels", gallery.pixels)
        self.register_buffer("starts", gallery.starts[positions])
        # Ring and block are both made of runs of this many neighbouring pixels, which are copied whole.
        self._run = math.gcd(config.width, config.outside)
        for name, ring in (("ring", True), ("block", False)):
            rows, columns = run_offsets(config, run=self._run, ring=ring)
            self.register_buffer(name, rows * gallery.row_length + columns)

    def forward(self, index: Tensor) -> Batch:
        start = self.starts[index].unsqueeze(1)
        return (self._cut(start + self.ring),), self._cut(start + self.block)

    def _cut(self, first_pixel: Int32[Tensor, "batch runs"]) -> Tensor:
        # Overlapping windows of the byte run: a row copy of several pixels costs as much as one of a single byte.
        windows = self.pixels.as_strided((len(self.pixels) // 3 - self._run + 1, 3 * self._run), (3, 1))
        cut = windows.index_select(0, first_pixel.flatten()).view(len(first_pixel), -1)
        return from_bytes(cut)

    @property
    def first_picture(self) -> UInt8[Tensor, "height width 3"]:
        height, width = self.gallery.first_size
        return self.pixels.view(-1, self.gallery.row_length, 3)[:height, :width]


def run_offsets(config: NeighborhoodData, *, run: int, ring: bool) -> tuple[Tensor, Tensor]:
    """(row, column) within a patch of the first pixel of every run of `run` pixels of its ring, or of its block."""
    row, column = torch.meshgrid(torch.arange(config.span), torch.arange(config.span), indexing="ij")
    inner = range(config.outside, config.outside + config.width)
    inside = (row >= inner.start) & (row < inner.stop) & (column >= inner.start) & (column < inner.stop)
    chosen = ~inside if ring else inside
    return row[chosen][::run].int(), column[chosen][::run].int()


def load(config: NeighborhoodConfig) -> TaskData:
    """Training positions of all pictures, and the held-out ones followed by those of the other pictures.

    Raises:
        DataError: If a picture cannot be read, or is smaller than block and ring together.
    """
    data = config.data
    gallery, num_positions = load_gallery([*data.images, *data.val_images], config=data)
    num_own = sum(num_positions[: len(data.images)])
    generator = torch.Generator().manual_seed(config.training.seed)
    own = torch.randperm(num_own, generator=generator)
    other = num_own + torch.randperm(sum(num_positions) - num_own, generator=generator)
    num_held_out = min(round(data.val_fraction * num_own), num_own - 1)
    held_out = (own[:num_held_out] if num_held_out else own)[: data.max_val_positions]
    train = own[num_held_out:]
    val = torch.cat([held_out, other[: data.max_val_positions]])
    return TaskData(
        train=Patches(gallery, train, config=data),
        val=Patches(gallery, val, config=data),
        facts=NeighborhoodFacts(num_train_positions=len(train), num_held_out_positions=len(held_out)),
    )


def num_samples(config: NeighborhoodConfig) -> int:
    """Training positions of all pictures; errors as in `load`."""
    return load(config).train.num_samples


def load_gallery(sources: Sequence[str], *, config: NeighborhoodData) -> tuple[Gallery, list[int]]:
    """The pictures with every position at which a whole patch lies within one of them, and how many each has."""
    pictures = [load_picture(source, max_side=config.max_side) for source in sources]
    for source, picture in zip(sources, pictures, strict=True):
        height, width, _ = picture.shape
        if min(height, width) < config.span:
            raise DataError(
                f"{source}: must be at least {config.span} x {config.span} pixels for data.width {config.width} "
                f"and data.outside {config.outside}, got {width} x {height}"
            )
    row_length = max(picture.shape[1] for picture in pictures)
    num_rows = sum(picture.shape[0] for picture in pictures)
    if num_rows * row_length > MAX_PIXELS:
        raise DataError(f"data.images: must have at most {MAX_PIXELS:,} pixels together; set data.max_side")
    pixels = torch.zeros(num_rows, row_length, 3, dtype=torch.uint8)
    starts, top = [], 0
    for picture in pictures:
        height, width, _ = picture.shape
        pixels[top : top + height, :width] = picture
        rows = torch.arange(0, height - config.span + 1, config.stride, dtype=torch.int32)
        columns = torch.arange(0, width - config.span + 1, config.stride, dtype=torch.int32)
        starts.append(((top + rows.unsqueeze(1)) * row_length + columns).flatten())
        top += height
    first_size = pictures[0].shape[0], pictures[0].shape[1]
    gallery = Gallery(pixels=pixels.flatten(), row_length=row_length, starts=torch.cat(starts), first_size=first_size)
    return gallery, [len(own) for own in starts]


def score(prediction: Tensor, target: Tensor, data: TaskData) -> dict[str, float]:
    """Mean squared error and PSNR over the held-out positions, and PSNR over those of the other pictures."""
    assert isinstance(data.facts, NeighborhoodFacts)
    held_out = slice(data.facts.num_held_out_positions)
    other = slice(held_out.stop, None)
    drawn, true = shown(prediction), shown(target)
    metrics = {
        "val_loss": mse(prediction[held_out], target[held_out]),
        "val_psnr_db": psnr_db(drawn[held_out], true[held_out]),
    }
    if len(target) > held_out.stop:
        metrics["val_other_psnr_db"] = psnr_db(drawn[other], true[other])
    return metrics
