"""An epoch of a picture, ours against upstream's Net, DataLoader and Trainer as they ship.

Both train the network of upstream's README for its newt (40,760 parameters) with Adam on batches of 256, on one
thread. Upstream's epoch is timed over its first steps and extrapolated, since a whole one takes minutes; it neither
logs pictures nor validates here. Ours is a whole epoch, once without and once with validation, whose parts are then
timed alone in this thread's CPU time.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from high_order_layers_torch.layers import MaxAbsNormalization
from high_order_layers_torch.networks import HighOrderMLP, initialize_network_polynomial_layers
from high_order_layers_torch.utils import positions_from_mesh
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from hoir_ray.pictures.colours import shown
from hoir_ray.pictures.load import load_picture
from hoir_ray.pictures.quality import ssim
from hoir_ray.tasks import load_task
from hoir_ray.tasks.contract import Task
from hoir_ray.tasks.fit import fit
from hoir_ray.tasks.image.config import ImageFacts
from hoir_ray.training.fused import fuse
from hoir_ray.training.optimizers import build_optimizer
from hoir_ray.training.predict import predict
from hoir_ray.training.quiet import quiet_lightning

WARM_UP_STEPS = 20
ROUNDS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default="sample:astronaut")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=100, help="steps over which upstream is timed")
    parser.add_argument("--loader-workers", type=int, default=10, help="upstream's default is 10")
    parser.add_argument("--quick", action="store_true", help="the parts of a validation alone, without upstream")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num_pixels = load_picture(args.image).shape[:2].numel()
    print(f"{args.image}, {num_pixels:,} pixels, batches of {args.batch_size}, one thread\n")
    print_validation(args.image, args.batch_size)
    if args.quick:
        return
    upstream_s = time_upstream(args.image, args.batch_size, steps=args.steps, num_workers=args.loader_workers)
    train_s, whole_s = time_ours(args.image, args.batch_size)
    print("| | an epoch, s | pixels a second | ratio |\n|---|---|---|---|")
    for name, seconds in (("upstream", upstream_s), ("ours", train_s), ("ours, with validation and SSIM", whole_s)):
        print(f"| {name} | {seconds:,.1f} | {num_pixels / seconds:,.0f} | {upstream_s / seconds:.1f}x |")


class UpstreamPixels(Dataset[tuple[Tensor, Tensor]]):
    """One pixel at a time, as upstream's own dataset gives them."""

    def __init__(self, image: str) -> None:
        picture = load_picture(image)
        mesh = positions_from_mesh(*picture.shape[:2], rotations=2, device="cpu", normalize=True)
        self.positions = torch.stack(mesh, dim=2).reshape(-1, 4)
        self.colours = picture.reshape(-1, 3) * 2.0 / 255.0 - 1

    def __len__(self) -> int:
        return len(self.colours)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.positions[index], self.colours[index]


class UpstreamNet(LightningModule):
    """Automatic optimization, the loss logged every step."""

    def __init__(self) -> None:
        super().__init__()
        self.model = HighOrderMLP(
            layer_type="continuous",
            n=3,
            in_width=4,
            in_segments=100,
            out_width=3,
            out_segments=2,
            hidden_width=40,
            hidden_layers=1,
            hidden_segments=2,
            normalization=MaxAbsNormalization,
        )
        initialize_network_polynomial_layers(self.model, max_slope=1.0, max_offset=0.0)
        self.loss = nn.MSELoss()

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
        positions, colours = batch
        loss: Tensor = self.loss(self.model(positions.flatten(1)).flatten(), colours.flatten())
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class StepClock(Callback):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())


def time_upstream(image: str, batch_size: int, *, steps: int, num_workers: int) -> float:
    """Seconds an epoch, from the mean over `steps` steps after a few to warm up."""
    pixels, clock = UpstreamPixels(image), StepClock()
    loader = DataLoader(pixels, batch_size, shuffle=True, num_workers=num_workers, drop_last=True)
    with quiet_lightning():
        trainer = Trainer(
            max_epochs=1,
            limit_train_batches=WARM_UP_STEPS + steps,
            accelerator="cpu",
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(UpstreamNet(), loader)
    step_s = (clock.ends[-1] - clock.ends[WARM_UP_STEPS - 1]) / (len(clock.ends) - WARM_UP_STEPS)
    return step_s * (len(pixels) // batch_size)


def time_ours(image: str, batch_size: int) -> tuple[float, float]:
    """Seconds of an epoch's steps, and of everything that `train` does for one epoch."""
    task = load_task("image")
    config = config_of(task, image, batch_size)
    data = task.data(config)
    start = time.perf_counter()
    _, outcome = fit(task, config, data)
    return outcome.metrics["train_time_s"], time.perf_counter() - start


def config_of(task: Task[Any], image: str, batch_size: int) -> Any:
    return task.config.model_validate(
        {
            "data": {"image": image},
            "network": {"input": {"segments": 100}},
            "training": {"max_epochs": 1, "batch_size": batch_size},
        }
    )


def print_validation(image: str, batch_size: int) -> None:
    """A table of what a validation consists of, beside the optimizer steps of an epoch."""
    task = load_task("image")
    config = config_of(task, image, batch_size)
    data, network = task.data(config), task.network(config)
    facts = data.facts
    assert isinstance(facts, ImageFacts)
    prediction, target = predict(network, data.val)
    fit, true = (shown(x).view(facts.height, facts.width, 3) for x in (prediction, target))
    optimizer = build_optimizer(network.parameters(), config=config.training.optimizer, device=torch.device("cpu"))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # which makes its state
    steps = fuse(
        network, data, optimizer=optimizer, config=config.training.optimizer, batch_size=config.training.batch_size
    )
    index = torch.randperm(data.train.num_samples)
    index = index[: len(index) // batch_size * batch_size].view(-1, batch_size)
    parts: dict[str, Callable[[], object]] = {
        "prediction": lambda: predict(network, data.val),
        "SSIM": lambda: ssim(fit, true),
        "all scores": lambda: task.score(prediction, target, data),
    }
    if steps is not None:
        parts["an epoch's steps"] = lambda: steps.train(index, rates=[1e-5] * len(index))
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(ROUNDS):
        for name, part in parts.items():
            start = time.thread_time()
            part()
            times[name].append(time.thread_time() - start)
    whole = statistics.median(times.get("an epoch's steps", [float("nan")]))
    print("| | ms | of an epoch's steps |\n|---|---|---|")
    for name, found in times.items():
        print(f"| {name} | {statistics.median(found) * 1e3:,.1f} | {statistics.median(found) / whole:.3f} |")
    print()


if __name__ == "__main__":
    main()
