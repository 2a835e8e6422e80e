"""Samples per second of each task's data path, and of the same work done the usual way in the same run.

The usual way is a torch Dataset whose `__getitem__` makes one sample (for random_interpolation: all samples of one
picture, read from its file), and a DataLoader that stacks them, as the implicit-representation project that these
tasks come from has it. Both run in this process on one thread: `python benchmarks/tasks.py`.
"""

from __future__ import annotations

import io
import math
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image, ImageOps
from pyarrow import parquet
from torch.utils.data import DataLoader, Dataset

from hoir_ray.pictures.coordinates import pixel_positions
from hoir_ray.pictures.load import SAMPLES, load_picture
from hoir_ray.tasks import load_task
from hoir_ray.training.data import Samples

SECONDS = 3.0
EMBEDDING_SIZE = 384


class StackedPatches(Dataset[Any]):
    """Every patch cut out in advance; an item is one row of features and one of targets."""

    def __init__(self, picture: torch.Tensor, *, width: int, outside: int) -> None:
        span = width + 2 * outside
        inside = torch.zeros(span, span, dtype=torch.bool)
        inside[outside : outside + width, outside : outside + width] = True
        image = picture.float().permute(2, 0, 1) / 255 * 2 - 1
        patches = image.unfold(1, span, 1).unfold(2, span, 1).flatten(3).permute(1, 2, 0, 3).flatten(0, 1)
        self.features = patches[:, :, ~inside.flatten()].flatten(1)
        self.targets = patches[:, :, inside.flatten()].flatten(1)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.features[number], self.targets[number]


class CaptionedPixelStream(Dataset[Any]):
    """Pixels one after the other from a generator over parquet rows, each with its caption's embedding."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.pixels = self.generate()

    def __len__(self) -> int:
        return 10**12

    def generate(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        table = parquet.read_table(self.file)
        while True:
            for caption, encoded in zip(table["caption"].to_pylist(), table["jpg_0"].to_pylist(), strict=True):
                # The usual way runs the text model here, once more for every picture and epoch. Left out: it would
                # favour ours by however large the model is.
                embedding = torch.full((EMBEDDING_SIZE,), float(len(caption)))
                picture = torch.from_numpy(np.array(Image.open(io.BytesIO(encoded))))
                positions = pixel_positions(picture.shape[0], picture.shape[1])
                colours = picture.reshape(-1, 3) * 2.0 / 255.0 - 1
                for number, colour in enumerate(colours):
                    yield embedding, positions[number], colour

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return next(self.pixels)


class RadialSamples(Dataset[Any]):
    """An item is one picture, read from its file, with random features for `num_targets` of its pixels."""

    def __init__(self, paths: list[Path], *, side: int, num: int, num_targets: int) -> None:
        self.paths, self.side, self.num, self.num_targets = paths, side, num, num_targets
        self.positions = pixel_positions(side, side, num_rotations=2)
        row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        self.targets = torch.stack([row.flatten(), column.flatten()], dim=1)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        picture = ImageOps.fit(Image.open(self.paths[number]), (self.side, self.side), Image.Resampling.BILINEAR)
        if torch.rand(()) < 0.5:
            picture = ImageOps.mirror(picture)
        colours = torch.from_numpy(np.array(picture)).float().flatten(0, 1) / 255 * 2 - 1
        known = torch.cat([colours, self.positions], dim=1)
        chosen = torch.randperm(self.side**2)[: self.num_targets]
        radius = 0.5 * self.side * torch.rand(self.num_targets, self.num)
        angle = 2 * math.pi * torch.rand(self.num_targets, self.num)
        steps = torch.stack([(radius * torch.cos(angle)).int(), (radius * torch.sin(angle)).int()], dim=2)
        at = self.targets[chosen].unsqueeze(1) + steps
        at = torch.where(at > self.side - 1, 2 * (self.side - 1) - at, at)
        at = torch.where(at < 0, -at, at)
        features = known[at[:, :, 0] * self.side + at[:, :, 1]]
        features[:, :, 3:] -= known[chosen].unsqueeze(1)[:, :, 3:]
        return features, colours[chosen]


def per_second(take: Callable[[], int]) -> float:
    """Count the samples that `take` makes in a second of the processor's time, after one call to warm up.

    The processor's and not the clock's, so that what else the machine does counts for little; threads count in full.
    """
    take()
    num, began = 0, time.process_time()
    while (spent := time.process_time() - began) < SECONDS:
        num += take()
    return num / spent


def usual(dataset: Dataset[Any], *, batch_size: int, shuffle: bool = True, joined: bool = False) -> float:
    def join(items: list[Any]) -> tuple[torch.Tensor, ...]:
        return tuple(torch.cat(parts) for parts in zip(*items, strict=True))

    loader = DataLoader(dataset, batch_size=batch_size, shuffle=shuffle, collate_fn=join if joined else None)
    batches = iter(loader)

    def take() -> int:
        nonlocal batches
        batch = next(batches, None)
        if batch is None:
            batches = iter(loader)
            batch = next(batches)
        return len(batch[-1])

    return per_second(take)


def ours(samples: Samples, *, batch_size: int) -> float:
    order: Iterator[torch.Tensor] = iter(())

    def take() -> int:
        nonlocal order
        index = next(order, None)
        if index is None:
            order = iter(torch.split(torch.randperm(samples.num_samples), batch_size))
            index = next(order)
        return len(samples(index)[1])

    return per_second(take)


def size_mb(module: Samples) -> float:
    return sum(b.numel() * b.element_size() for b in module.buffers()) / 2**20


def show(task: str, batch_size: int, before: float, after: float, memory: str) -> None:
    print(f"| {task} | {batch_size:,} | {before:,.0f} | {after:,.0f} | {after / before:.1f}x | {memory} |", flush=True)


def neighborhood() -> None:
    task = load_task("neighborhood")
    samples = task.data(task.config.model_validate({"data": {"images": ["sample:coffee"], "val_fraction": 0}})).train
    dataset = StackedPatches(load_picture("sample:coffee"), width=3, outside=3)
    before_mb = (dataset.features.numel() + dataset.targets.numel()) * 4 / 2**20
    for batch_size in (256, 4096):
        memory = f"{before_mb:,.0f} MB -> {size_mb(samples):.1f} MB"
        show(
            "neighborhood",
            batch_size,
            usual(dataset, batch_size=batch_size),
            ours(samples, batch_size=batch_size),
            memory,
        )


def text_to_image(folder: Path) -> None:
    file = folder / "captions.parquet"
    encoded = []
    for name in SAMPLES:
        buffer = io.BytesIO()
        Image.fromarray(load_picture(f"sample:{name}").numpy()).save(buffer, "JPEG")
        encoded.append(buffer.getvalue())
    parquet.write_table(pa.table({"caption": list(SAMPLES), "jpg_0": encoded}), file)
    task = load_task("text_to_image")
    data = {"files": [str(file)], "text_model": "hashing", "embedding_size": EMBEDDING_SIZE, "max_side": None}
    samples = task.data(task.config.model_validate({"data": data})).train
    for batch_size in (256, 4096):
        before = usual(CaptionedPixelStream(file), batch_size=batch_size, shuffle=False)
        show("text_to_image", batch_size, before, ours(samples, batch_size=batch_size), f"{size_mb(samples):.1f} MB")


def random_interpolation(folder: Path) -> None:
    paths = []
    for number in range(128):  # of the size of CelebA's
        picture = ImageOps.fit(
            Image.fromarray(load_picture(f"sample:{list(SAMPLES)[number % 15]}").numpy()), (178, 218)
        )
        paths.append(folder / f"{number}.jpg")
        picture.save(paths[-1])
    task = load_task("random_interpolation")
    for cache, size_mb_of_cache in (("in memory", 1024), ("streamed", 1)):
        data = {"folder": str(folder), "train_fraction": 0.9, "cache_mb": size_mb_of_cache, "sampler": "radial"}
        samples = task.data(task.config.model_validate({"data": data})).train
        # Upstream's config takes one target from each picture that it reads; all 4,096 is the best that it can do.
        for num_targets, batch_size in ((1, 256), (4096, 4096)):
            usual_way = RadialSamples(paths, side=64, num=32, num_targets=num_targets)
            before = usual(usual_way, batch_size=batch_size // num_targets, joined=True)
            after = ours(samples, batch_size=batch_size)
            name = f"random_interpolation, {cache}, {num_targets:,} a picture"
            show(name, batch_size, before, after, f"{size_mb(samples):.1f} MB")


def main() -> None:
    torch.set_num_threads(1)
    print("| task | batch | usual, samples/s | ours, samples/s | ratio | memory |")
    print("|---|---|---|---|---|---|")
    neighborhood()
    with tempfile.TemporaryDirectory() as folder:
        text_to_image(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        random_interpolation(Path(folder))
    print(f"\nlargest resident size {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:,.0f} MB")


if __name__ == "__main__":
    main()
