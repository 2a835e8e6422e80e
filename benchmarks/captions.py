"""Many pictures in one network, beside as many networks of one picture each that are together as large.

    python benchmarks/captions.py [--num 10 100 1000] [--more FOLDER] [--sheets FOLDER] [--quick]

Pictures are squares of scikit-image's photographs and of those in FOLDER: the middle of each, then its quarters, ninths
and so on until there are enough. Captions are words drawn at random, told apart by `hashing`. A single network has its
share of the parameters and sees its picture as often; of four shapes, that which draws the first pictures best. Of many
pictures an even sample of SINGLES gets one. A picture counts as grey where it is no better than its own mean colour.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pyarrow import parquet
from torch import Tensor

from hoir_ray.errors import SpecError
from hoir_ray.pictures.load import SAMPLES, load_picture
from hoir_ray.pictures.quality import psnr_db
from hoir_ray.pictures.save import save_picture
from hoir_ray.tasks import load_task
from hoir_ray.tasks.fit import fit
from hoir_ray.tasks.text_to_image.dictionary import SAMPLE_CAPTIONS
from hoir_ray.training.loop import Measured, train

SINGLES = 20
SHAPES = [{"width": 8, "num_layers": 1}, {"width": 8, "num_layers": 2}, {"width": 16, "num_layers": 1}]
SHAPES += [{"width": 4, "num_layers": 1}]
ADAM = {"name": "adam", "lr": 1e-2}


@dataclass(frozen=True, kw_only=True)
class Size:
    """Pictures of `side` pixels, epochs, and the network that all share."""

    side: int
    epochs: int
    width: int
    segments: int
    caption: int


SIZES = {
    10: Size(side=256, epochs=10, width=48, segments=64, caption=8),
    100: Size(side=128, epochs=10, width=64, segments=32, caption=32),
    1000: Size(side=64, epochs=12, width=96, segments=32, caption=64),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """PSNR in dB of each picture, parameters of the network, and seconds of training."""

    psnrs_db: list[float]
    num_parameters: int
    seconds: float


def make_pictures(num: int, *, side: int, more: Path | None) -> list[Tensor]:
    """Squares (side, side, 3) in [0, 1]."""
    sources = [f"sample:{name}" for name in SAMPLES]
    sources += sorted(str(path) for path in more.iterdir() if path.suffix in (".jpg", ".png")) if more else []
    middles = [_middle(load_picture(source).float() / 255) for source in sources]
    tiles: list[Tensor] = []
    parts = 0
    while len(tiles) < num:
        parts += 1
        for place in range(parts * parts):
            for middle in middles:
                edge = len(middle) // parts
                top, left = edge * (place // parts), edge * (place % parts)
                tiles.append(_shrink(middle[top : top + edge, left : left + edge], side=side))
    return tiles[:num]


def _middle(picture: Tensor) -> Tensor:
    height, width, _ = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[top : top + side, left : left + side]


def _shrink(square: Tensor, *, side: int) -> Tensor:
    channels = square.permute(2, 0, 1).unsqueeze(0)
    return torch.nn.functional.interpolate(channels, (side, side), mode="bilinear", antialias=True)[0].permute(1, 2, 0)


def make_captions(num: int) -> list[str]:
    """Five words each."""
    words = sorted({word for caption in SAMPLE_CAPTIONS.values() for word in caption.replace(",", "").split()})
    generator = torch.Generator().manual_seed(0)
    return [" ".join(words[i] for i in torch.randperm(len(words), generator=generator)[:5]) for _ in range(num)]


def write_files(pictures: Sequence[Tensor], folder: Path) -> None:
    """The pictures as files, and the same in `pictures.parquet`."""
    paths = [folder / f"{number}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        save_picture(picture, path)
    table = {"caption": make_captions(len(pictures)), "jpg_0": [path.read_bytes() for path in paths]}
    parquet.write_table(pa.table(table), folder / "pictures.parquet")


def train_dictionary(num: int, size: Size, *, folder: Path, sheet: Path | None) -> Outcome:
    task = load_task("text_to_image")
    config = task.config.model_validate(
        {
            "data": {
                "files": [str(folder / "pictures.parquet")],
                "text_model": "hashing",
                "max_images": num,
                "num_rotations": 3,
            },
            "network": {
                "caption": {"size": size.caption},
                "input": {"segments": size.segments},
                "hidden": {"width": size.width, "num_layers": 3},
            },
            "training": {"max_epochs": size.epochs, "batch_size": 1024, "optimizer": ADAM},
        }
    )
    psnrs_db: list[float] = []

    def score(prediction: Tensor, target: Tensor, data: Any) -> dict[str, float]:
        pairs = zip(prediction.clamp(-1, 1).chunk(num), target.chunk(num), strict=True)
        psnrs_db[:] = [psnr_db(drawn / 2, true / 2) for drawn, true in pairs]
        return task.score(prediction, target, data)

    data = task.data(config)
    torch.manual_seed(0)
    network = task.network(config)
    whole = train(network, data, config.training, Measured(score=score))
    if sheet is not None:
        save_picture(task.pictures(network, data)["comparison"], sheet)
    return Outcome(psnrs_db=psnrs_db, num_parameters=task.num_parameters(config), seconds=whole.metrics["train_time_s"])


def train_single(image: Path, shape: dict[str, int], *, num_parameters: int, epochs: int) -> Outcome:
    """The network of this shape with as many segments as the parameters allow."""
    task = load_task("image")

    def config_of(segments: int) -> Any:
        network = {"input": {"segments": segments}, "hidden": shape}
        training = {"max_epochs": epochs, "batch_size": 256, "optimizer": ADAM}
        data = {"image": str(image), "num_rotations": 3}
        return task.config.model_validate({"data": data, "network": network, "training": training})

    fitting = [s for s in range(1, 201) if task.num_parameters(config_of(s)) <= num_parameters]
    if not fitting:
        raise SpecError(f"no network of {shape} has as few as {num_parameters} parameters")
    config = config_of(fitting[-1])
    _, single = fit(task, config, task.data(config))
    return Outcome(
        psnrs_db=[single.best_metrics["val_psnr_db"]],
        num_parameters=task.num_parameters(config),
        seconds=single.metrics["train_time_s"],
    )


def train_singles(num: int, *, num_parameters: int, epochs: int, folder: Path) -> Outcome:
    """Networks of the pictures, or of an even sample of them; the time is that of all."""
    share = num_parameters // num
    chosen = [round(n * (num - 1) / (min(num, SINGLES) - 1)) for n in range(min(num, SINGLES))]

    def of(number: int, shape: dict[str, int]) -> Outcome:
        return train_single(folder / f"{number}.png", shape, num_parameters=share, epochs=epochs)

    def tried(shape: dict[str, int]) -> float:
        try:
            return sum(of(number, shape).psnrs_db[0] for number in chosen[:3])
        except SpecError:
            return 0

    best = max(SHAPES, key=tried)
    found = [of(number, best) for number in chosen]
    return Outcome(
        psnrs_db=[outcome.psnrs_db[0] for outcome in found],
        num_parameters=found[0].num_parameters * num,
        seconds=sum(outcome.seconds for outcome in found) * num / len(chosen),
    )


def compare(num: int, size: Size, *, more: Path | None, sheets: Path | None) -> None:
    pictures = make_pictures(num, side=size.side, more=more)
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        write_files(pictures, folder)
        one = train_dictionary(num, size, folder=folder, sheet=sheets / f"captions-{num}.png" if sheets else None)
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        many = train_singles(num, num_parameters=one.num_parameters, epochs=size.epochs, folder=folder)
    plain = [psnr_db(picture.mean((0, 1)).expand_as(picture), picture) for picture in pictures]
    num_grey = sum(drawn <= grey for drawn, grey in zip(one.psnrs_db, plain, strict=True))
    for name, outcome in (("one network", one), (f"{num} networks", many)):
        mean_db, worst_db = sum(outcome.psnrs_db) / len(outcome.psnrs_db), min(outcome.psnrs_db)
        low = sum(value < 18 for value in outcome.psnrs_db)
        print(
            f"| {num} of {size.side} pixels, {size.epochs} epochs | {name} | {outcome.num_parameters:,} "
            f"| {outcome.seconds:.0f} | {mean_db:.2f} | {worst_db:.2f} | {low} of {len(outcome.psnrs_db)} |",
            flush=True,
        )
    print(f"{num_grey} grey pictures, {memory_mb:.0f} MB of memory", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, nargs="+", default=[10, 100, 1000], choices=list(SIZES))
    parser.add_argument("--more", type=Path, help="a folder of further photographs")
    parser.add_argument("--sheets", type=Path, help="folder for the first pictures as the one network draws them")
    parser.add_argument("--quick", action="store_true", help="ten pictures of 32 pixels, two epochs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.sheets:
        options.sheets.mkdir(parents=True, exist_ok=True)
    sizes = {10: Size(side=32, epochs=2, width=16, segments=16, caption=8)} if options.quick else SIZES
    print("| pictures | | parameters | s | mean PSNR, dB | worst, dB | below 18 dB |\n|---|---|---|---|---|---|---|")
    for num in options.num if not options.quick else sizes:
        compare(num, sizes[num], more=options.more, sheets=options.sheets)


if __name__ == "__main__":
    main()
