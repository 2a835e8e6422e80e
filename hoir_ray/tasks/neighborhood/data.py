"""Patches of pictures, cut from the pixels when a batch asks for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from hoir_ray.errors import DataError
from hoir_ray.metrics import mse, psnr_db
from hoir_ray.pictures import load_picture
from hoir_ray.tasks.neighborhood.config import NeighborhoodConfig, NeighborhoodData
from hoir_ray.training.data import Batch, Samples, TaskData

# Bytes are numbered with 32 bits, three to a pixel.
MAX_PIXELS = (2**31 - 1) // 3


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Several pictures as one run of RGB bytes, and where in it every patch starts.

    Attributes:
        pixels: The pictures one after the other, row by row, r g b.
        starts: Number of the pixel at the top left of each patch.
        row_lengths: Width in pixels of the picture each patch lies in.
        first_size: Height and width of the first picture.
    """

    pixels: UInt8[Tensor, " bytes"]
    starts: Int[Tensor, " positions"]
    row_lengths: Int[Tensor, " positions"]
    first_size: tuple[int, int]


class Patches(Samples):
    """Features are the ring of a patch, targets its block, both row by row with r g b together, in [-1, 1].

    Kept are the pixels and eight bytes for each position, not the patches, which would be hundreds of bytes each.
    """

    def __init__(self, gallery: Gallery, positions: Int[Tensor, " samples"], *, config: NeighborhoodData) -> None:
        super().__init__()
        self.config = config
        self.num_samples = len(positions)
        self._first_size = gallery.first_size
        self.register_buffer("pixels", gallery.pixels)
        self.register_buffer("starts", gallery.starts[positions])
        self.register_buffer("row_lengths", gallery.row_lengths[positions])
        # Ring and block are both made of runs of this many neighbouring pixels, which are copied whole.
        self._ring_run = math.gcd(config.width, config.outside)
        rows, columns = run_offsets(config, run=self._ring_run, ring=True)
        self.register_buffer("ring_rows", rows)
        self.register_buffer("ring_columns", columns)
        rows, columns = run_offsets(config, run=config.width, ring=False)
        self.register_buffer("block_rows", rows)
        self.register_buffer("block_columns", columns)

    pixels: Tensor
    starts: Tensor
    row_lengths: Tensor
    ring_rows: Tensor
    ring_columns: Tensor
    block_rows: Tensor
    block_columns: Tensor

    def forward(self, index: Tensor) -> Batch:
        start = self.starts[index].unsqueeze(1)
        row_length = self.row_lengths[index].unsqueeze(1)
        ring = self._cut(start + torch.addcmul(self.ring_columns, self.ring_rows, row_length), run=self._ring_run)
        block = self._cut(start + torch.addcmul(self.block_columns, self.block_rows, row_length), run=self.config.width)
        return (ring,), block

    @property
    def first_picture(self) -> UInt8[Tensor, "height width 3"]:
        height, width = self._first_size
        return self.pixels[: height * width * 3].view(height, width, 3)

    def _cut(self, first_pixel: Tensor, *, run: int) -> Tensor:
        # Overlapping windows of the byte run: a row copy of `run` pixels costs as much as one of a single byte.
        windows = self.pixels.as_strided((len(self.pixels) - 3 * run + 1, 3 * run), (1, 1))
        cut = windows.index_select(0, first_pixel.flatten() * 3).view(len(first_pixel), -1)
        # Converting first and scaling in place is sixty times faster than letting the arithmetic promote the bytes.
        return cut.float().mul_(2 / 255).sub_(1)


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
        facts={"num_train_positions": len(train), "num_held_out_positions": len(held_out)},
    )


def load_gallery(sources: Sequence[str], *, config: NeighborhoodData) -> tuple[Gallery, list[int]]:
    """The pictures with every position at which a whole patch lies within one of them, and how many each has."""
    pixels, starts, row_lengths, sizes, num_pixels = [], [], [], [], 0
    for source in sources:
        picture = load_picture(source, max_side=config.max_side)
        height, width, _ = picture.shape
        if min(height, width) < config.span:
            raise DataError(
                f"{source}: must be at least {config.span} x {config.span} pixels for data.width {config.width} "
                f"and data.outside {config.outside}, got {width} x {height}"
            )
        if num_pixels + height * width > MAX_PIXELS:
            raise DataError(f"data.images: must have at most {MAX_PIXELS:,} pixels together; set data.max_side")
        rows = torch.arange(0, height - config.span + 1, config.stride, dtype=torch.int32)
        columns = torch.arange(0, width - config.span + 1, config.stride, dtype=torch.int32)
        starts.append((num_pixels + rows.unsqueeze(1) * width + columns).flatten())
        row_lengths.append(torch.full_like(starts[-1], width))
        pixels.append(picture.flatten())
        sizes.append((height, width))
        num_pixels += height * width
    gallery = Gallery(
        pixels=torch.cat(pixels), starts=torch.cat(starts), row_lengths=torch.cat(row_lengths), first_size=sizes[0]
    )
    return gallery, [len(own) for own in starts]


def score(prediction: Tensor, target: Tensor, data: TaskData) -> dict[str, float]:
    """Mean squared error and PSNR over the held-out positions, and PSNR over those of the other pictures."""
    held_out = slice(int(data.facts["num_held_out_positions"]))  # type: ignore[arg-type]
    other = slice(held_out.stop, None)
    drawn, true = ((prediction + 1) / 2).clamp(0, 1), (target + 1) / 2
    metrics = {
        "val_loss": mse(prediction[held_out], target[held_out]),
        "val_psnr_db": psnr_db(drawn[held_out], true[held_out]),
    }
    if len(target) > held_out.stop:
        metrics["val_other_psnr_db"] = psnr_db(drawn[other], true[other])
    return metrics
