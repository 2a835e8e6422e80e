"""Targets and the random pixels around them, from all pictures of a folder."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor

from hoir_ray.pictures.colours import from_bytes, shown
from hoir_ray.pictures.quality import mse, psnr_db
from hoir_ray.tasks.random_interpolation import native
from hoir_ray.tasks.random_interpolation.config import (
    RandomInterpolationConfig,
    RandomInterpolationData,
    RandomInterpolationFacts,
)
from hoir_ray.tasks.random_interpolation.folder import PictureStream, find_pictures, read_all
from hoir_ray.tasks.random_interpolation.growth import layout_of
from hoir_ray.tasks.random_interpolation.hashing import mix, salt_for
from hoir_ray.tasks.random_interpolation.nearest import NearestSampler
from hoir_ray.tasks.random_interpolation.sampling import NeighbourSampler
from hoir_ray.training.data import Batch, Samples, TaskData

BYTES_PER_MB = 2**20
NUM_LOOKED_AT = 32  # pictures that tell whether a folder's can be read


class RandomPixels(Samples):
    """Features are the colours of the random pixels, then their positions; the target is a colour; all in [-1, 1].

    Sample n belongs to picture n // per_picture. With a stream in place of a whole table, that is the picture which
    the slot holds by then.
    """

    table: Tensor
    salt: Tensor

    def __init__(
        self,
        table: UInt8[Tensor, "pictures bytes"],
        *,
        config: RandomInterpolationData,
        per_picture: int,
        seed: int,
        random_flips: bool = False,
        stream: PictureStream | None = None,
    ) -> None:
        super().__init__()
        self.config, self.per_picture, self.seed, self.random_flips = config, per_picture, seed, random_flips
        self.num_pictures = len(table) if stream is None else len(stream.paths)
        self.num_samples = self.num_pictures * per_picture
        self.sampler = build_sampler(config, side=config.size)
        self.register_buffer("table", table)
        self.register_buffer("salt", torch.tensor(salt_for(seed, epoch=0), dtype=torch.int32))
        self._stream, self._epoch, self._num_served = stream, 0, 0

    def start_epoch(self, epoch: int) -> None:
        self.salt.fill_(salt_for(self.seed, epoch=epoch))
        self._epoch, self._num_served = epoch, 0
        if self._stream is not None:
            self._stream.move_to(epoch * self.num_pictures, self.table)

    @property
    def depends_on_order(self) -> bool:
        """A stream's pictures are replaced as samples are served."""
        return self._stream is not None

    def forward(self, index: Tensor) -> Batch:
        if self._stream is not None:
            self._advance(len(index))
        fits = isinstance(self.sampler, NeighbourSampler)
        if fits and index.device.type == "cpu" and native.library() is not None:
            features, target = self._draw_natively(index)
            return (features,), target
        return self._draw(index)

    def _draw_natively(self, index: Tensor) -> tuple[Tensor, Tensor]:
        sampler = self.sampler
        assert isinstance(sampler, NeighbourSampler)
        numbers = {
            "side": sampler.side,
            "num": sampler.num,
            "num_axes": sampler.relative.shape[1],
            "per_picture": self.per_picture,
            "num_pictures": self.num_pictures,
            "num_slots": len(self.table),
            "steps_per_pixel": len(sampler.steps) // sampler.num if sampler.radial else 0,
            "flips": int(self.random_flips),
        }
        tables = {"steps": sampler.steps, "relative": sampler.relative, "table": self.table}
        return native.draw(index, numbers=numbers, salt=int(self.salt), **tables)

    def _draw(self, index: Tensor) -> Batch:
        side = self.config.size
        hashed = mix(index.int() ^ self.salt)
        picture = index.div(self.per_picture, rounding_mode="floor")
        if self.per_picture == side * side:
            pixel = (index - picture * self.per_picture).int()
        else:
            pixel = (mix(hashed + 1) & 0x7FFFFFFF) % (side * side)
        if self._stream is not None:
            picture = (picture * len(self.table)).div(self.num_pictures, rounding_mode="floor")
        row = pixel.div(side, rounding_mode="floor")
        column = pixel - row * side
        rows, columns, relative = self.sampler(row, column, hashed)
        if self.random_flips:
            # Mirroring where colours are looked up and not where pixels are drawn is mirroring the picture.
            flipped = (mix(hashed + 2) & 1).unsqueeze(1)
            columns = columns + flipped * (side - 1 - 2 * columns)
            column = column + flipped[:, 0] * (side - 1 - 2 * column)
        first = (picture * (side * side)).unsqueeze(1)
        colours = self._look_up(first + rows * side + columns)
        target = self._look_up(first + (row * side + column).unsqueeze(1))
        if self.config.num_outputs == 6:
            target = torch.cat([target, target.square()], dim=1)
        return (torch.cat([colours, relative], dim=1),), target

    def _look_up(self, pixel: Tensor) -> Tensor:
        colours = self.table.view(-1, 3).index_select(0, pixel.flatten())
        return from_bytes(colours).view(len(pixel), -1)

    def _advance(self, num_samples: int) -> None:
        assert self._stream is not None
        if self.table.is_cuda and torch.cuda.is_current_stream_capturing():
            raise RuntimeError("pictures are read from disk between steps")  # the loop then does without a graph
        self._num_served += num_samples * _num_workers()
        passed = min(self._num_served * self.num_pictures // self.num_samples, self.num_pictures)
        self._stream.move_to(self._epoch * self.num_pictures + passed, self.table)


def build_sampler(config: RandomInterpolationData, *, side: int) -> NearestSampler | NeighbourSampler:
    """The sampler that the config names, for pictures of `side` pixels."""
    return (NearestSampler if config.sampler == "nearest" else NeighbourSampler)(config, side=side)


def _num_workers() -> int:
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if ready else 1


def load(config: RandomInterpolationConfig) -> TaskData:
    """Pictures of the training split, and fixed random samples of the validation or test split.

    Raises:
        DataError: If the folder holds no pictures, or more than a tenth of them cannot be read.
    """
    data, seed = config.data, config.training.seed
    found = find_pictures(data.folder)
    splits = split(list(found.paths), train_fraction=data.train_fraction, seed=seed)
    per_picture = data.samples_per_picture or data.size**2
    num_slots = max(1, data.cache_mb * BYTES_PER_MB // (3 * data.size**2))
    val_paths = splits[data.validate_on][:num_slots]
    val = RandomPixels(
        read_all(val_paths, side=data.size, where=data.folder),
        config=data,
        per_picture=min(data.val_samples_per_picture, data.size**2),
        seed=seed + 1,
    )
    stream = None
    if len(splits["train"]) <= num_slots:
        table = read_all(splits["train"], side=data.size, where=data.folder)
    else:
        stream = PictureStream(splits["train"], side=data.size, num_slots=num_slots, seed=seed, where=data.folder)
        table = stream.table
    train = RandomPixels(
        table, config=data, per_picture=per_picture, seed=seed, random_flips=data.random_flips, stream=stream
    )
    layout = None
    if data.sampler == "nearest":
        layout = layout_of(table.view(-1, data.size, data.size, 3))
    facts = RandomInterpolationFacts(
        num_train_pictures=len(splits["train"]),
        num_val_pictures=len(splits["val"]),
        num_test_pictures=len(splits["test"]),
        layout_f32_base64=layout,
    )
    return TaskData(train=train, val=val, facts=facts, notes=(found.describe(data.folder),))


def num_samples(config: RandomInterpolationConfig) -> int:
    """Training targets in all pictures of the folder, of which the first ones are read.

    Raises:
        DataError: If the folder holds no pictures, or more than a tenth of those cannot be read.
    """
    data = config.data
    splits = split(
        list(find_pictures(data.folder).paths), train_fraction=data.train_fraction, seed=config.training.seed
    )
    read_all(splits["train"][:NUM_LOOKED_AT], side=data.size, where=data.folder)
    return len(splits["train"]) * (data.samples_per_picture or data.size**2)


def split(paths: list[str], *, train_fraction: float, seed: int) -> dict[str, list[str]]:
    """The pictures of `train`, `val` and `test`; a single picture is all three, two leave none apart to test with."""
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(seed)).tolist()
    shuffled = [paths[i] for i in order]
    num_train = min(max(1, int(train_fraction * len(paths))), max(1, len(paths) - 1))
    rest = shuffled[num_train:] or shuffled
    num_test = len(rest) // 2
    return {"train": shuffled[:num_train], "val": rest[num_test:], "test": rest[:num_test] or rest}


def score(prediction: Tensor, target: Tensor, data: TaskData) -> dict[str, float]:
    """Mean squared error, and PSNR of the colours as they would be shown."""
    prediction, target = prediction[:, :3], target[:, :3]
    return {
        "val_loss": mse(prediction, target),
        "val_psnr_db": psnr_db(shown(prediction), shown(target)),
    }
