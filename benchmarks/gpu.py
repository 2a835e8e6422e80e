"""A GPU beside the machine's processor: an epoch of the image task, and what a sweep gets through in a minute.

    python benchmarks/gpu.py [--quick]

The first table has one training of the picture at a time, on one CPU thread in one compiled call and on the GPU with a
captured step; validation is not counted. The second has sweeps of random trials of one network on the same picture,
as many at a time as the machine has room for: one to a CPU, and one, four, ten to a GPU. Epochs count from the first
trial's start to the last one's end, so that Ray's start is left out and processes' starts are not.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from unittest.mock import patch

import torch

from hoir_ray.results.record import TrialRecord
from hoir_ray.results.sweep_results import open_sweep
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.sweep.planning.plan import plan_sweep
from hoir_ray.sweep.run import run_sweep
from hoir_ray.tasks import load_task
from hoir_ray.tasks.contract import Task
from hoir_ray.tasks.fit import fit
from hoir_ray.testing.simulation import Silent
from hoir_ray.training.loop import Hooks

NETWORKS: dict[str, dict[str, Any]] = {
    "compress_12, 7,452": {"input": {"segments": 35}, "hidden": {"width": 12, "num_layers": 3}},
    "continuous, 40,760": {"input": {"segments": 100}},
    "wide, 1,097,600": {"input": {"segments": 100}, "hidden": {"width": 400}},
}
SHARES = (1.0, 0.25, 0.1)
SPEC = """\
name: gpu
task: image
data: {{image: sample:astronaut, max_side: 256}}
method: random
metric: {{name: val_psnr_db, goal: maximize}}
parameters:
  training.optimizer.lr: {{min: 5.0e-3, max: 2.0e-2, distribution: log_uniform_values}}
  training.batch_size: {{value: 1024}}
  training.max_epochs: {{value: 20}}
  network.input.segments: {{value: 35}}
  network.hidden.width: {{value: 12}}
  network.hidden.num_layers: {{value: 3}}
resources: {{cpus: 1, gpus: {gpus}}}
storage: {{uri: {folder}}}
trackers: {{}}
budget: {{wall_clock: {seconds}s}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="batches 256 and 16384 of the first two networks, no sweep"
    )
    parser.add_argument("--seconds", type=int, default=120, help="of each sweep, Ray's start included")
    parser.add_argument("--only", choices=["epochs", "sweeps"])
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device on this machine: nothing to compare")
        return
    print(f"{torch.cuda.get_device_name()}, {os.cpu_count()} CPUs, torch {torch.__version__}\n")
    if args.only != "sweeps":
        print_epochs(quick=args.quick)
    if args.only != "epochs" and not args.quick:
        print_sweeps(args.seconds)


def print_epochs(*, quick: bool) -> None:
    task = load_task("image")
    print("| 262,144 pixels, network | batch | CPU, s an epoch | GPU, s an epoch | GPU to CPU | GPU, us a step |")
    print("|---|---|---|---|---|---|")
    for name, network in list(NETWORKS.items())[: 2 if quick else None]:
        for batch in (256, 16_384) if quick else (256, 1024, 4096, 16_384, 65_536):
            with one_cpu():
                cpu_s = epoch_s(task, network, batch)
            gpu_s = epoch_s(task, network, batch)
            step_us = 1e6 * gpu_s / -(-262_144 // batch)
            print(
                f"| {name} | {batch:,} | {cpu_s:.3f} | {gpu_s:.3f} | {cpu_s / gpu_s:.2f}x | {step_us:,.0f} |",
                flush=True,
            )


def epoch_s(task: Task[Any], network: dict[str, Any], batch: int) -> float:
    """Seconds of the optimizer steps of the second epoch."""
    config = task.config.model_validate(
        {"data": {"num_rotations": 3}, "network": network, "training": {"max_epochs": 2, "batch_size": batch}}
    )
    times: list[float] = []
    fit(task, config, task.data(config), Hooks(on_epoch=lambda epoch: times.append(epoch.metrics["train_time_s"])))
    return times[1] - times[0]


@contextmanager
def one_cpu() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with patch.object(torch.cuda, "is_available", lambda: False):
            yield
    finally:
        torch.set_num_threads(threads)


def print_sweeps(seconds: int) -> None:
    print(
        "\n| 65,536 pixels, 20 epochs of 64 steps | at a time | epochs an hour | trials an hour | to a GPU for each |"
    )
    print("|---|---|---|---|---|")
    alone = 0.0
    for gpus in (*SHARES, 0.0):
        name = f"gpus: {gpus:g}" if gpus else "one CPU to a trial"
        rates = sweep_rates(gpus, seconds)
        if rates is None:
            print(f"| {name} | no trial ended within {seconds} s |", flush=True)
            continue
        at_a_time, epochs, trials = rates
        alone = alone or epochs
        print(f"| {name} | {at_a_time} | {epochs:,.0f} | {trials:,.0f} | {epochs / alone:.2f}x |", flush=True)


def sweep_rates(gpus: float, seconds: int) -> tuple[int, float, float] | None:
    """Most trials at a time, epochs an hour, and trials an hour that came to their end; None where none did."""
    with tempfile.TemporaryDirectory() as folder:
        text = SPEC.format(gpus=gpus, folder=folder, seconds=seconds)
        document = parse_document(text, name="gpu.yaml")
        run_sweep(plan_sweep(build_spec(document), document), watch=lambda driver, cluster: Silent())
        records = [r for r in open_sweep(f"{folder}/gpu").records if r.started_at is not None]
        finished = [r for r in records if r.state == "FINISHED"]
        if not finished:
            return None
        hours = (max(map(ended, records)) - min(map(started, records))) / 3600
        return most_at_a_time(records), sum(len(r.curve) for r in records) / hours, len(finished) / hours


def started(record: TrialRecord) -> float:
    assert record.started_at is not None
    return datetime.fromisoformat(record.started_at).timestamp()


def ended(record: TrialRecord) -> float:
    return started(record) if record.ended_at is None else datetime.fromisoformat(record.ended_at).timestamp()


def most_at_a_time(records: list[TrialRecord]) -> int:
    changes = sorted([(started(r), 1) for r in records] + [(ended(r), -1) for r in records])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


if __name__ == "__main__":
    main()
