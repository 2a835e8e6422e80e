"""Drawing from noise, and from a few pixels, with the task random_interpolation.

    python benchmarks/generation.py [--epochs 30] [--quick] [--sheets FOLDER]

Three folders of 64 x 64 pixels: textures (crops of brick, grass and gravel), a cat's fur and face (crops of one
photograph) and scikit-image's photographs. Of each sampler: the distance between the patches of 16 drawn pictures and
of held-out ones, beside noise of the folder's own colours and the folder's own training pictures; then the PSNR of
held-out pictures drawn from a tenth of their pixels, beside the nearest pixel and scipy's linear interpolation.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy.interpolate import griddata
from torch import Tensor

from hoir_ray.pictures.load import load_picture
from hoir_ray.pictures.quality import patch_distance, psnr_db
from hoir_ray.pictures.save import contact_sheet, save_picture
from hoir_ray.tasks import load_task
from hoir_ray.tasks.fit import fit
from hoir_ray.tasks.random_interpolation.config import RenderOptions
from hoir_ray.tasks.random_interpolation.folder import find_pictures, read_all

SIDE = 64
NUM_DRAWN = 16
CROPS = {"textures": ("brick", "grass", "gravel"), "cat": ("chelsea",)}
NETWORK = {"layer_type": "continuous", "num_nodes": 3, "segments": 2, "hidden": {"width": 48, "num_layers": 2}}


def make_folder(name: str, folder: Path) -> str:
    """A folder of crops, or the name of the photographs."""
    if name == "photos":
        return "sample:photos"
    generator = torch.Generator().manual_seed(1)
    for number in range(60):
        sources = CROPS[name]
        picture = load_picture(f"sample:{sources[number % len(sources)]}", max_side=256)
        y, x = (int(torch.randint(0, side - SIDE, (1,), generator=generator)) for side in picture.shape[:2])
        save_picture(picture[y : y + SIDE, x : x + SIDE].float() / 255, folder / f"{number:03d}.png")
    return str(folder)


def of_split(config, *, train_split: bool) -> Tensor:
    from hoir_ray.tasks.random_interpolation.data import split

    paths = split(list(find_pictures(config.data.folder).paths), train_fraction=config.data.train_fraction, seed=0)
    chosen = paths["train"] if train_split else paths["val"] + paths["test"]
    return read_all(chosen, side=SIDE, where=config.data.folder).view(-1, SIDE, SIDE, 3).float() / 255


def from_a_tenth(picture: Tensor, *, method: str, seed: int) -> Tensor:
    known = torch.randperm(SIDE * SIDE, generator=torch.Generator().manual_seed(seed))[: round(0.1 * SIDE * SIDE)]
    places = np.stack([known // SIDE, known % SIDE], 1)
    grid = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1)
    colours = picture.view(-1, 3)[known].numpy()
    nearest = griddata(places, colours, grid, method="nearest")
    if method == "nearest":
        return torch.from_numpy(nearest)
    linear = griddata(places, colours, grid, method="linear")
    return torch.from_numpy(np.where(np.isnan(linear), nearest, linear)).float()


def measure(name: str, sampler: str, folder: str, *, epochs: int, sheets: Path | None) -> None:
    task = load_task("random_interpolation")
    config = task.config.model_validate(
        {
            "data": {"folder": folder, "size": SIDE, "sampler": sampler, "num_feature_pixels": 12},
            "network": NETWORK,
            "training": {"max_epochs": epochs, "batch_size": 512, "optimizer": {"name": "adam", "lr": 5e-3}},
        }
    )
    data = task.data(config)
    network, _ = fit(task, config, data)
    network.eval()

    def render(**options) -> Tensor:
        return task.render(network, config, data.facts, RenderOptions.model_validate(options))

    held_out = of_split(config, train_split=False)
    if sampler == "nearest":
        drawn = render(num_frames=NUM_DRAWN, all_random=True)
    else:  # noise, drawn again and again until it changes little
        drawn = torch.cat([render(num_frames=9, seed=seed)[-1:] for seed in range(NUM_DRAWN)])
    if sheets is not None:
        save_picture(contact_sheet(drawn, num_columns=8), sheets / f"{name}-{sampler}.png")
    parameters = task.num_parameters(config)
    print(f"| {name} | {sampler}, {parameters:,} parameters | {patch_distance(drawn, held_out):.4f} | ", end="")
    if sampler != "nearest":
        print("- |", flush=True)
        return
    rebuilt = []
    for number, path in enumerate(_held_out_paths(config)):
        rebuilt.append(psnr_db(render(input=path, num_frames=2, known=0.1, seed=number)[-1], held_out[number]))
    print(f"{sum(rebuilt) / len(rebuilt):.2f} dB |", flush=True)


def _held_out_paths(config) -> list[str]:
    from hoir_ray.tasks.random_interpolation.data import split

    paths = split(list(find_pictures(config.data.folder).paths), train_fraction=config.data.train_fraction, seed=0)
    return paths["val"] + paths["test"]


def baselines(name: str, folder: str) -> None:
    config = load_task("random_interpolation").config.model_validate({"data": {"folder": folder, "size": SIDE}})
    training, held_out = (of_split(config, train_split=flag) for flag in (True, False))
    pixels = training.view(-1, 3)
    noise = pixels[torch.randint(len(pixels), (NUM_DRAWN * SIDE * SIDE,), generator=torch.Generator().manual_seed(0))]
    print(f"| {name} | its own training pictures | {patch_distance(training, held_out):.4f} | - |")
    print(f"| {name} | noise of its own colours | {patch_distance(noise.view(-1, SIDE, SIDE, 3), held_out):.4f} | - |")
    for method in ("nearest", "linear"):
        found = [psnr_db(from_a_tenth(p, method=method, seed=n), p) for n, p in enumerate(held_out)]
        print(f"| {name} | {method} interpolation | - | {sum(found) / len(found):.2f} dB |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets of what was drawn")
    parser.add_argument("--quick", action="store_true", help="textures alone, two epochs")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if options.sheets:
        options.sheets.mkdir(parents=True, exist_ok=True)
    print("| folder | drawn by | patch distance to held-out pictures | from a tenth of the pixels |\n|---|---|---|---|")
    for name in ("textures",) if options.quick else ("textures", "cat", "photos"):
        with tempfile.TemporaryDirectory() as temp:
            folder = make_folder(name, Path(temp))
            baselines(name, folder)
            for sampler in ("nearest", "radial"):
                epochs = 2 if options.quick else options.epochs
                measure(name, sampler, folder, epochs=epochs, sheets=options.sheets)


if __name__ == "__main__":
    main()
