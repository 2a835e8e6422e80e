"""Trains networks on a small picture and writes their learning curves: what `search.py` searches.

python benchmarks/record_curves.py [--image FILE] [--max-side 48] [--seed 0] [--out benchmarks/curves.json]
python benchmarks/record_curves.py --wide 300 --out benchmarks/wide/FILE.json [--image FILE] [--seed 0]
python benchmarks/record_curves.py --quick                            six networks, written nowhere

Every network of a grid, or with `--wide` so many drawn at random from a space of thirteen parameters: a layer type for
each layer, depth, width, nodes and segments, rotations, optimizer, rate and batch size. About ten minutes on one core
for the grid at 48 x 48 pixels, eight for 300 networks. Another seed shows the noise between seeds.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hoir_ray.search.gaussian_process.candidates import random_point
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.spec.space import Dimension
from hoir_ray.sweep.planning.plan import Plan, plan_sweep
from hoir_ray.tasks.fit import fit
from hoir_ray.training.loop import Hooks

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
WIDE = """\
name: wide
task: image
data: {image: sample:astronaut, max_side: 48}
method: random
metric: {name: val_psnr_db, goal: maximize}
parameters:
  network.input.layer_type: {values: [continuous, discontinuous, polynomial, fourier]}
  network.hidden.layer_type: {values: [continuous, discontinuous, polynomial, fourier]}
  network.output.layer_type: {values: [continuous, polynomial, linear]}
  network.input.num_nodes:
  - {when: {network.input.layer_type: [continuous, discontinuous]}, min: 2, max: 4}
  - {when: {network.input.layer_type: polynomial}, min: 3, max: 12}
  - {when: {network.input.layer_type: fourier}, min: 5, max: 31}
  network.input.segments:
  - when: {network.input.layer_type: [continuous, discontinuous]}
    min: 4
    max: 64
    distribution: log_uniform_values
  network.hidden.num_nodes:
  - {when: {network.hidden.layer_type: [continuous, discontinuous]}, min: 2, max: 4}
  - {when: {network.hidden.layer_type: [polynomial, fourier]}, min: 3, max: 9}
  network.hidden.segments:
  - {when: {network.hidden.layer_type: [continuous, discontinuous]}, min: 1, max: 4}
  network.hidden.num_layers: {min: 1, max: 3}
  network.hidden.width: {min: 8, max: 32}
  data.num_rotations: {min: 1, max: 6}
  training.optimizer.name: {values: [adam, adamw, lion]}
  training.optimizer.lr:
  - {when: {training.optimizer.name: [adam, adamw]}, min: 0.001, max: 0.05, distribution: log_uniform_values}
  - {when: {training.optimizer.name: lion}, min: 0.0001, max: 0.005, distribution: log_uniform_values}
  training.batch_size: {values: [64, 128, 256, 512]}
  training.max_epochs: {value: 27}
trackers: {}
budget: {max_trials: 1000}
"""
IMAGE, MAX_SIDE, DIGITS = "sample:astronaut", 48, 3
CURVES = Path(__file__).with_name("curves.json")


def plan_of(text: str, *, image: str = IMAGE, max_side: int = MAX_SIDE, seed: int = 0) -> Plan:
    document = parse_document(text, name="curves.yaml")
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
    curve: list[float] = []
    began = time.process_time()
    hooks = Hooks(on_epoch=lambda epoch: curve.append(round(epoch.metrics["val_psnr_db"], DIGITS)))
    fit(plan.task, config, data, hooks)
    seconds = round(time.process_time() - began, 2)
    return {"num_parameters": plan.task.num_parameters(config), "seconds": seconds, "val_psnr_db": curve}


def drawn(plan: Plan, count: int) -> list[dict[str, Any]]:
    """Points of the space at random, always the same ones."""
    generator = np.random.default_rng(0)
    return [random_point(plan.space, generator) for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default=IMAGE, help="a file, or sample:NAME")
    parser.add_argument("--max-side", type=int, default=MAX_SIDE, help="pixels to which it is scaled down")
    parser.add_argument("--seed", type=int, default=0, help="of the networks' weights and the order of pixels")
    parser.add_argument("--out", type=Path, default=CURVES)
    parser.add_argument("--wide", type=int, metavar="COUNT", help="random networks of the wide space, not the grid")
    parser.add_argument("--quick", action="store_true", help="six networks, written nowhere")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    image = arguments.image if arguments.image.startswith("sample:") else str(Path(arguments.image).absolute())
    text = WIDE if arguments.wide else SPEC
    plan = plan_of(text, image=image, max_side=arguments.max_side, seed=arguments.seed)
    points = drawn(plan, arguments.wide) if arguments.wide else list(plan.space.points(Dimension.grid))
    if arguments.quick:
        points = points[:: len(points) // 6]
    curves, began = list[dict[str, Any]](), time.time()
    for number, point in enumerate(points, start=1):
        curves.append(record(plan, point))
        if number % 50 == 0 or number == len(points):
            print(f"{number} of {len(points)} networks, {time.time() - began:.0f} s", flush=True)
    if not arguments.quick:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(_wide_text(points, curves) if arguments.wide else _grid_text(points, curves))


def _grid_text(points: list[dict[str, Any]], curves: list[dict[str, Any]]) -> str:
    lines = [f"{json.dumps(key_of(p))}: {json.dumps(c)}" for p, c in zip(points, curves, strict=True)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _wide_text(points: list[dict[str, Any]], curves: list[dict[str, Any]]) -> str:
    """A line for the parameters' paths, and one for each network: values, null where one does not apply, and curve."""
    paths = list(dict.fromkeys(path for point in points for path in point))
    rows = [{"point": [_short(p.get(path)) for path in paths], **c} for p, c in zip(points, curves, strict=True)]
    lines = [json.dumps(row, separators=(",", ":")) for row in rows]
    return f'{{"paths": {json.dumps(paths)},\n"networks": [\n' + ",\n".join(lines) + "\n]}\n"


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
