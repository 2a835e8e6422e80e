"""Compares weights averaged over a training with the weights themselves, as what a trial is validated by.

python benchmarks/averaged_weights.py [--image FILE ...] [--points 60] [--seed 0]
python benchmarks/averaged_weights.py --quick

Two questions: does an exponential average of the weights (of a half-life in epochs) draw better at the end, and does
its value at the first rung, a third of the epochs, order trials more like their ends do (Spearman's rank correlation)?
Networks are drawn at random from the wide space of `record_curves.py`; the average follows every optimizer step.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from record_curves import WIDE, plan_of  # type: ignore[import-not-found]  # the file beside this one
from scipy.stats import spearmanr
from torch import Tensor, nn

from hoir_ray.errors import DivergedError
from hoir_ray.search.gaussian_process.candidates import random_point
from hoir_ray.sweep.planning.plan import Plan
from hoir_ray.training import module as training
from hoir_ray.training.data import TaskData
from hoir_ray.training.loop import Hooks, Measured, train
from hoir_ray.training.predict import predict

HALF_LIVES = (0.1, 0.3, 1.0, 3.0)  # epochs
RUNG = 9  # of 27 epochs


class Averages(training.RegressionModule):
    """Follows the weights of every step with one average for each half-life."""

    def training_step(self, block: tuple[Tensor, float], block_index: int) -> None:
        super().training_step(block, block_index)
        weights = self.network.state_dict()
        if not hasattr(self, "averages"):
            self.averages = {h: {k: v.clone() for k, v in weights.items()} for h in HALF_LIVES}
        for half_life, average in self.averages.items():
            share = 1.0 - 0.5 ** (len(block[0]) / self._loader.num_steps / half_life)
            for name, value in weights.items():
                average[name].lerp_(value, share)
        CURRENT.update(self.averages)


CURRENT: dict[float, dict[str, Tensor]] = {}


def curves(plan: Plan, point: dict[str, Any], seed: int) -> dict[str, list[float]]:
    """Record PSNR by epoch of the weights ('weights') and of each average (its half-life)."""
    config = plan.config({**point, "training.seed": seed})
    found: dict[str, list[float]] = {name: [] for name in ("weights", *map(str, HALF_LIVES))}

    def measure(network: nn.Module, data: TaskData) -> dict[str, float]:
        kept = {name: value.clone() for name, value in network.state_dict().items()}
        for half_life, average in CURRENT.items():
            network.load_state_dict(average)
            prediction, target = predict(network, data.val)
            found[str(half_life)].append(plan.task.score(prediction, target, data)["val_psnr_db"])
        network.load_state_dict(kept)
        return {}

    torch.manual_seed(seed)
    hooks = Hooks(on_epoch=lambda epoch: found["weights"].append(epoch.metrics["val_psnr_db"]))
    measured = Measured(score=plan.task.score, measure=measure)
    train(plan.task.network(config), plan.task.data(config), config.training, measured, hooks)
    return found


def table(records: Sequence[dict[str, list[float]]]) -> str:
    """Format, for each way to validate: its gain at the end, and how its first rung orders the ends."""
    ends = [max(r["weights"]) for r in records]
    top = np.argsort(ends)[-len(ends) // 3 :]
    lines = ["half-life | at the end, dB | best third, dB | order at the rung | of the best third"]
    for name in records[0]:
        own = np.array([max(r[name]) for r in records])
        at_rung = np.array([max(r[name][:RUNG]) for r in records])
        gain = own - np.array(ends)
        order = spearmanr(at_rung, own).statistic
        order_top = spearmanr(at_rung[top], own[top]).statistic
        lines.append(f"{name} | {gain.mean():+.2f} | {gain[top].mean():+.2f} | {order:.3f} | {order_top:.3f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", nargs="+", default=["sample:coffee", "sample:chelsea"], help="files, or sample:NAME")
    parser.add_argument("--points", type=int, default=60, help="networks for each picture")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="four networks of one picture")
    arguments = parser.parse_args()
    images, count = (arguments.image[:1], 4) if arguments.quick else (arguments.image, arguments.points)
    # The average follows every step: a block is one.
    blocks = patch.multiple(training, MIN_BLOCK_STEPS=1, MAX_ROWS=1)
    with blocks, patch("hoir_ray.training.loop.RegressionModule", Averages):
        compare(images, count, seed=arguments.seed)


def compare(images: Sequence[str], count: int, *, seed: int) -> None:
    torch.set_num_threads(1)
    for image in images:
        plan, generator = plan_of(WIDE, image=image), np.random.default_rng(seed)
        records = list[dict[str, list[float]]]()
        while len(records) < count:
            try:
                records.append(curves(plan, random_point(plan.space, generator), seed))
            except DivergedError:
                continue
            print(f"\r{image}: {len(records)} of {count}", end="", flush=True)
        print(f"\n{table(records)}")


if __name__ == "__main__":
    main()
