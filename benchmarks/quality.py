"""Quality of a picture over the seconds of training: upstream's recipe against our defaults, several seeds.

Both train the same network (40,760 parameters, that of upstream's README for its newt) on batches of 256. Upstream's
recipe is its positions, in which one axis appears twice and the other only in the diagonals, its initialization, and
Adam at a constant 1e-3. Both are computed by our layers, which give upstream's numbers; upstream's own take some
twenty times longer, so that its times here flatter it.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from high_order_layers_torch.networks import initialize_network_polynomial_layers
from high_order_layers_torch.utils import positions_from_mesh
from torch import nn

from hoir_ray.networks import build_mlp
from hoir_ray.networks.upstream import from_upstream_state, to_upstream
from hoir_ray.pictures.load import load_picture
from hoir_ray.tasks import load_task
from hoir_ray.tasks.image.config import ImageConfig, ImageFacts
from hoir_ray.tasks.image.data import Pixels, load
from hoir_ray.tasks.image.network import build_network
from hoir_ray.training.data import TaskData
from hoir_ray.training.loop import Epoch, Hooks, Measured, train

NETWORK = {"input": {"segments": 100}}
UPSTREAM_TRAINING = {"optimizer": {"name": "adam", "lr": 1e-3, "beta2": 0.999}, "scheduler": {"name": "none"}}
Build = Callable[[ImageConfig], tuple[TaskData, nn.Module]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", default=["sample:astronaut"])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--max-side", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipes: dict[str, tuple[dict[str, object], Build]] = {
        "upstream's recipe": (UPSTREAM_TRAINING, build_upstreams),
        "ours": ({}, lambda config: (load(config), build_network(config))),
    }
    heads = " | ".join(f"after {e}" for e in range(1, args.epochs + 1))
    print(f"| picture | recipe | {heads} epochs, dB | SSIM | s an epoch |\n|---|---|{'---|' * (args.epochs + 2)}")
    for image in args.images:
        data = {"image": image, "max_side": args.max_side}
        for name, (training, build) in recipes.items():
            config = ImageConfig.model_validate(
                {"data": data, "network": NETWORK, "training": {"max_epochs": args.epochs, **training}}
            )
            print(f"| {image} | {name} | {measure(config, build, num_seeds=args.seeds)} |", flush=True)


def measure(config: ImageConfig, build: Build, *, num_seeds: int) -> str:
    """Cells of a row: PSNR after each epoch as mean ± standard deviation over seeds, final SSIM, seconds an epoch."""
    curves: list[list[Epoch]] = []
    for seed in range(num_seeds):
        seeded = config.model_copy(update={"training": config.training.model_copy(update={"seed": seed})})
        torch.manual_seed(seed)
        data, network = build(seeded)
        curves.append([])
        measured = Measured(score=load_task("image").score)
        train(network, data, seeded.training, measured, Hooks(on_epoch=curves[-1].append))
    cells = []
    for epochs in zip(*curves, strict=True):
        values = [e.metrics["val_psnr_db"] for e in epochs]
        spread = f" ± {statistics.stdev(values):.2f}" if num_seeds > 1 else ""
        cells.append(f"{statistics.fmean(values):.2f}{spread}")
    last = [curve[-1].metrics for curve in curves]
    cells.append(f"{statistics.fmean(m['val_ssim'] for m in last):.3f}")
    cells.append(f"{statistics.median(m['train_time_s'] for m in last) / config.training.max_epochs:.1f}")
    return " | ".join(cells)


def build_upstreams(config: ImageConfig) -> tuple[TaskData, nn.Module]:
    """The picture at upstream's positions, and the network as upstream initializes it."""
    picture = load_picture(config.data.image, max_side=config.data.max_side)
    height, width, _ = picture.shape
    mesh = positions_from_mesh(height, width, rotations=2, device="cpu", normalize=True)
    pixels = Pixels(torch.stack(mesh, dim=2).reshape(-1, 4).float(), picture.reshape(-1, 3) * 2.0 / 255.0 - 1)
    upstream = to_upstream(build_mlp(config.network, in_width=4, out_width=3))
    initialize_network_polynomial_layers(upstream, max_slope=1.0, max_offset=0.0)
    network = from_upstream_state(upstream.state_dict(), config=config.network, in_width=4, out_width=3)
    facts = ImageFacts(height=height, width=width, num_pixels=height * width)
    return TaskData(train=pixels, val=pixels, facts=facts), network


if __name__ == "__main__":
    main()
