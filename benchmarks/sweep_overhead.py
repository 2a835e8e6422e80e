"""Overhead of a sweep on each trial's own training time, three ways of running the same trials under Ray Tune.

    python benchmarks/sweep_overhead.py [--trials 8] [--epochs 5] [--quick]

Ours keeps processes warm (actors are reused, Ray Train runs in local mode); the others are Tune's function trainable
with a fresh actor for each trial, and the documented nesting of a one-worker TorchTrainer inside a Tune trial.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hoir_ray.cluster.cluster import Cluster, connect
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.sweep.planning.plan import Plan, plan_sweep
from hoir_ray.sweep.run import run_sweep
from hoir_ray.testing.simulation import Silent
from hoir_ray.trials.attempt import Attempt
from hoir_ray.trials.trainable import JOB_KEY, MESSAGE

SLOTS = 2
SPEC = """\
name: overhead
task: image
data: {{image: sample:astronaut, max_side: 64}}
method: grid
metric: {{name: val_psnr_db, goal: maximize}}
parameters:
  training.seed: {{min: 1, max: {trials}}}
  training.max_epochs: {{value: {epochs}}}
resources: {{concurrent_trials: {slots}}}
storage: {{uri: {folder}}}
trackers: {{}}
budget: {{max_trials: {trials}}}
"""


def warm(plan: Plan) -> float:
    """The product's own way; returns when the first trial could start."""
    began = []

    def watch(driver: Driver, cluster: Cluster) -> Silent:
        began.append(time.time())
        return Silent()

    run_sweep(plan, watch=watch)
    return began[0]


def fresh(plan: Plan) -> float:
    """Tune's function trainable, a new process for each trial."""
    return _plain_tune(_train_directly, plan)


def nested(plan: Plan) -> float:
    """A Tune trial that starts a worker group of one through Ray Train."""
    return _plain_tune(_train_nested, plan, cpus=0.5)


def _train_directly(config: dict[str, Any]) -> None:
    from ray import tune

    from hoir_ray.trials.worker import train_worker

    train_worker(Attempt.model_validate(config[JOB_KEY]), lambda message: tune.report({MESSAGE: message.to_json()}))


def _train_nested(config: dict[str, Any]) -> None:
    import ray.train
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    def loop(inner: dict[str, Any]) -> None:
        from hoir_ray.trials.worker import train_worker

        job = Attempt.model_validate(inner[JOB_KEY])
        train_worker(job, lambda message: ray.train.report({MESSAGE: message.to_json()}))

    TorchTrainer(
        loop,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 0.5}),
        run_config=ray.train.RunConfig(storage_path=tempfile.gettempdir()),
    ).fit()


def _plain_tune(trainable: Callable[[dict[str, Any]], None], plan: Plan, *, cpus: float = 1.0) -> float:
    from ray import tune

    with tempfile.TemporaryDirectory() as scratch, connect():
        began = time.time()
        tune.Tuner(
            tune.with_resources(trainable, {"CPU": cpus}),
            param_space={JOB_KEY: tune.grid_search(_jobs(plan, Path(scratch)))},
            tune_config=tune.TuneConfig(max_concurrent_trials=SLOTS),
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        ).fit()
    return began


def _jobs(plan: Plan, scratch: Path) -> list[dict[str, Any]]:
    spec = plan.spec
    return [
        Attempt(
            sweep=spec.name,
            trial=f"t{number:04d}",
            attempt=1,
            task=plan.task.name,
            config=plan.config(point).model_dump(mode="json"),
            metric=spec.metric.name,
            goal=spec.metric.goal,
            storage_uri=spec.storage.uri,
            endpoint_url=None,
            trackers={},
            parameters=point,
            workers=1,
            cpus=1,
            memory_limit=None,
            unsaved=str(scratch),
        ).model_dump(mode="json")
        for number, point in enumerate(plan.space.points(lambda d: d.grid()), start=1)
    ]


def measure(way: Callable[[Plan], float], *, trials: int, epochs: int) -> tuple[float, float, float]:
    """Seconds to the last model, to the first one of every slot, and added to each trial after those."""
    with tempfile.TemporaryDirectory() as folder:
        text = SPEC.format(trials=trials, epochs=epochs, folder=folder, slots=SLOTS)
        document = parse_document(text, name="overhead.yaml")
        began = way(plan_sweep(build_spec(document), document))
        models = list(Path(folder).glob("overhead/models/*/manifest.json"))
        assert len(models) == trials, f"{len(models)} of {trials} trials left a model"
        ends = sorted((m.stat().st_mtime, _training_s(m.parent)) for m in models)
        started, later = ends[SLOTS - 1][0], ends[SLOTS:]
        # What a trial waits beyond its own training, once every slot has had its first: process, imports, data, pack.
        added_s = ((ends[-1][0] - started) * SLOTS - sum(train_s for _, train_s in later)) / len(later)
        return ends[-1][0] - began, started - began, added_s


def _training_s(pack: Path) -> float:
    return float(json.loads((pack / "metrics.json").read_text())["train_time_s"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="four trials")
    arguments = parser.parse_args()
    trials = 4 if arguments.quick else arguments.trials
    print(
        f"| {trials} trials, {SLOTS} at a time | whole | until the first {SLOTS} ended | added to each further trial |"
    )
    print("|---|---|---|---|")
    for way in (warm, fresh, nested):
        whole_s, first_s, added_s = measure(way, trials=trials, epochs=arguments.epochs)
        print(f"| {way.__name__} | {whole_s:.1f} s | {first_s:.1f} s | {added_s:.2f} s |", flush=True)


if __name__ == "__main__":
    main()
