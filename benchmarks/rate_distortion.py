"""Decibels at equal bytes: our stored form beside JPEG, WebP, AVIF and JPEG 2000, and beside a SIREN of COIN's.

For each picture and structure, one network is trained for --seconds of this process's processor time, its steps are
searched, and it is trained on under rounding for a fifth of that; its bytes are the length of the file, decoded again
before it is measured. The other codecs are Pillow's, each at its best quality within as many bytes. The SIRENs have
COIN's sizes for Kodak, are trained for the same processor time and stored in 16 bits a weight: their bytes are the
weights alone.

Source: Dupont et al. 2021, "COIN: COmpression with Implicit Neural representations", for the SIRENs' sizes.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from hoir_ray.packs.pack import Pack
from hoir_ray.packs.quantization.form import find_form, find_tuned_form
from hoir_ray.packs.quantization.goal import Goal
from hoir_ray.packs.quantization.metrics import stored_metrics
from hoir_ray.pictures.codecs import codec_names, encode_within
from hoir_ray.pictures.load import load_picture
from hoir_ray.pictures.quality import psnr_db
from hoir_ray.tasks import load_task
from hoir_ray.tasks.fit import fit
from hoir_ray.tasks.image.config import ImageConfig
from hoir_ray.training.config import QuantizationConfig
from hoir_ray.training.data import TaskData
from hoir_ray.training.loop import Hooks

# Segments of the input layer and width: 0.1, 0.2, 0.3 and 0.6 bits per pixel at Kodak's 768 x 512.
STRUCTURES = {"7.5k": (35, 12), "15k": (56, 16), "26k": (81, 20), "48k": (105, 28)}
SIRENS = {"28x10": (28, 10), "40x10": (40, 10), "49x13": (49, 13)}  # width and number of layers
BATCH = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", default=["sample:astronaut"])
    parser.add_argument("--seconds", type=float, default=25.0, help="processor time of a training")
    parser.add_argument("--structures", nargs="*", choices=STRUCTURES, default=list(STRUCTURES))
    parser.add_argument("--sirens", nargs="*", choices=SIRENS, default=list(SIRENS))
    parser.add_argument("--max-side", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    codecs = codec_names()
    print(f"| picture, bytes | bits per pixel | ours: float, rounded, fine-tuned | {' | '.join(codecs)} |")
    print(f"|---|---|---|{'---|' * len(codecs)}")
    for picture in args.pictures:
        for name in args.structures:
            size, cells = ours(picture, name, seconds=args.seconds, max_side=args.max_side)
            print(
                f"| {Path(picture).stem} {name}, {size:,} | {cells} | {others(picture, size, args.max_side)} |",
                flush=True,
            )
        for name in args.sirens:
            print(
                f"| {Path(picture).stem} SIREN {name}, {siren(picture, name, args.seconds, args.max_side)} |",
                flush=True,
            )


def ours(picture: str, name: str, *, seconds: float, max_side: int | None) -> tuple[int, str]:
    """The size of the file, and cells: bits per pixel, and PSNR in float, rounded, and after fine-tuning."""
    segments, width = STRUCTURES[name]
    task = load_task("image")
    data_config = {"image": picture, "max_side": max_side, "num_rotations": 3}
    network_config = {"input": {"segments": segments}, "hidden": {"width": width, "num_layers": 3}}

    def config_of(epochs: int) -> ImageConfig:
        training = {"max_epochs": epochs, "batch_size": BATCH, "optimizer": {"lr": 2e-2}, "val_every_epochs": epochs}
        return ImageConfig.model_validate({"data": data_config, "network": network_config, "training": training})

    data = task.data(config_of(1))

    def trained(epochs: int) -> tuple[Pack, float]:
        config = config_of(epochs)
        began = time.process_time()
        network, outcome = fit(task, config, data, Hooks(metric="val_loss", goal="minimize"))
        pack = Pack(
            task=task,
            config=config,
            network=network.eval(),
            facts=data.facts,
            metrics=outcome.metrics,
            folder=Path(name),
        )
        return pack, time.process_time() - began

    _, of_one_epoch = trained(1)
    pack, _ = trained(max(1, round(seconds / of_one_epoch)))
    rounded = find_form(pack, data, goal=Goal())
    tuned = find_tuned_form(pack, data, goal=Goal(), quantization=QuantizationConfig())
    rate = stored_metrics(tuned, facts=data.facts)["stored_bits_per_pixel"]
    psnrs = f"{pack.metrics['val_psnr_db']:.2f}, {rounded.psnr_db:.2f}, **{tuned.psnr_db:.2f}**"
    return tuned.size_bytes, f"{rate:.3f} | {psnrs}"


def others(picture: str, size: int, max_side: int | None) -> str:
    """Cells: the PSNR of each codec within `size` bytes."""
    pixels = load_picture(picture, max_side=max_side)
    found = (encode_within(pixels, codec=codec, max_bytes=size) for codec in codec_names())
    return " | ".join("cannot" if encoded is None else f"{encoded.psnr_db:.2f}" for encoded in found)


class Siren(nn.Module):
    """Layers with sines between them, whose first weights let each sine run through as many periods.

    Source: Sitzmann et al. 2020, "Implicit Neural Representations with Periodic Activation Functions", section 3.2.
    """

    def __init__(self, width: int, num_layers: int, *, omega: float = 30.0) -> None:
        super().__init__()
        self.omega = omega
        widths = [2, *[width] * num_layers]
        self.hidden = nn.ModuleList([nn.Linear(i, o) for i, o in itertools.pairwise(widths)])
        self.output = nn.Linear(width, 3)
        for number, layer in enumerate([*self.hidden, self.output]):
            assert isinstance(layer, nn.Linear)
            bound = 1 / layer.in_features if number == 0 else math.sqrt(6 / layer.in_features) / omega
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = torch.sin(self.omega * layer(x))
        return self.output(x)


def siren(picture: str, name: str, seconds: float, max_side: int | None) -> str:
    """Cells: bytes of the weights in 16 bits, bits per pixel, and PSNR with the weights rounded to that."""
    task = load_task("image")
    data = task.data(ImageConfig.model_validate({"data": {"image": picture, "max_side": max_side, "num_rotations": 1}}))
    torch.manual_seed(0)
    network = Siren(*SIRENS[name])
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-4, betas=(0.9, 0.999), fused=True)
    began = time.process_time()
    for rows in _batches(data):
        done = (time.process_time() - began) / seconds
        if done >= 1:
            break
        optimizer.param_groups[0]["lr"] = 5e-4 * (1 + math.cos(math.pi * done)) / 2
        (positions,), colours = data.train(rows)
        loss = nn.functional.mse_loss(network(positions), colours)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    network.half().float()
    with torch.inference_mode():
        (positions,), colours = data.val(torch.arange(data.val.num_samples))
        drawn = torch.cat([network(block) for block in torch.split(positions, 8192)])
    size = 2 * sum(p.numel() for p in network.parameters())
    psnr = psnr_db(((drawn + 1) / 2).clamp(0, 1), (colours + 1) / 2)
    return f"{size:,} | {8 * size / data.val.num_samples:.3f} | {psnr:.2f}"


def _batches(data: TaskData) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    while True:
        yield from torch.split(torch.randperm(data.train.num_samples, generator=generator), BATCH)


if __name__ == "__main__":
    main()
