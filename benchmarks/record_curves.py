"""Trains every network of a grid on a small picture and writes its learning curve: what `search.py` searches.

python benchmarks/record_curves.py [--image FILE] [--max-side 48] [--seed 0] [--out benchmarks/curves.json]
python benchmarks/record_curves.py --quick                            six networks, written nowhere

About ten minutes on one core for 48 x 48 pixels. Another seed of the same picture shows the noise between seeds.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from pathlib import Path
from typing import Any

import torch

from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.spec.space import Dimension
from hoir_ray.sweep.planning.plan import Plan, plan_sweep
from hoir_ray.training.loop import train

SPEC = """\
name: curves
task: image
data: {image: sample:astronaut, max_side: 48}
method: grid
metric: {name: val_psnr_db, goal: maximize}
parameters:
  network.layer_type: {values: [continuous, discontinuous, polynomial, fourier]}
  network.num_nodes:
  - {when: {network.layer_type: [continuous, discontinuous]}, values: [2, 3, 4]}
  - {when: {network.layer_type: polynomial}, values: [3, 5, 8, 12]}
  - {when: {network.layer_type: fourier}, values: [7, 15, 31]}
  network.input.segments: {when: {network.layer_type: [continuous, discontinuous]}, values: [8, 16, 32, 64]}
  network.hidden.width: {values: [8, 16, 24, 32]}
  training.optimizer.lr: {values: [0.001, 0.003, 0.01, 0.03]}
  training.max_epochs: {value: 27}
trackers: {}
budget: {max_trials: 1000}
"""
IMAGE, MAX_SIDE = "sample:astronaut", 48
CURVES = Path(__file__).with_name("curves.json")


def grid_plan(*, image: str = IMAGE, max_side: int = MAX_SIDE, seed: int = 0) -> Plan:
    document = parse_document(SPEC, name="curves.yaml")
    document.data.update(data={"image": image, "max_side": max_side}, seed=seed)
    return plan_sweep(build_spec(document), document)


def key_of(point: dict[str, Any]) -> str:
    """The point's values in the order of the spec, as one word."""
    return " ".join(str(point.get(path, "-")) for path in _paths())


@functools.cache
def _paths() -> tuple[str, ...]:
    return tuple(build_spec(parse_document(SPEC, name="curves.yaml")).parameters)


def record(plan: Plan, point: dict[str, Any]) -> dict[str, Any]:
    config = plan.config(point)
    data = plan.task.data(config)
    torch.manual_seed(config.training.seed)
    network = plan.task.network(config)
    curve: list[float] = []
    train(
        network,
        data,
        config.training,
        score=plan.task.score,
        metric="val_psnr_db",
        goal="maximize",
        on_epoch=lambda epoch: curve.append(round(epoch.metrics["val_psnr_db"], 3)),
    )
    return {"num_parameters": plan.task.num_parameters(config), "val_psnr_db": curve}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default=IMAGE, help="a file, or sample:NAME")
    parser.add_argument("--max-side", type=int, default=MAX_SIDE, help="pixels to which it is scaled down")
    parser.add_argument("--seed", type=int, default=0, help="of the networks' weights and the order of pixels")
    parser.add_argument("--out", type=Path, default=CURVES)
    parser.add_argument("--quick", action="store_true", help="six networks, written nowhere")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    image = arguments.image if arguments.image.startswith("sample:") else str(Path(arguments.image).absolute())
    plan = grid_plan(image=image, max_side=arguments.max_side, seed=arguments.seed)
    points = list(plan.space.points(Dimension.grid))
    if arguments.quick:
        points = points[:: len(points) // 6]
    curves, began = {}, time.time()
    for number, point in enumerate(points, start=1):
        curves[key_of(point)] = record(plan, point)
        if number % 50 == 0 or number == len(points):
            print(f"{number} of {len(points)} networks, {time.time() - began:.0f} s")
    if not arguments.quick:
        lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in curves.items())
        arguments.out.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
