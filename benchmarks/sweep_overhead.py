"""What a sweep adds to each trial's own training time, three ways of running the same trials under Ray Tune.

    python benchmarks/sweep_overhead.py [--trials 8] [--epochs 5] [--quick]

Ours keeps processes warm (actors are reused, Ray Train runs in local mode); the others are Tune's function trainable
with a fresh actor for each trial, and the documented nesting of a one-worker TorchTrainer inside a Tune trial.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hoir_ray.document import parse_document
from hoir_ray.spec import build_spec
from hoir_ray.sweep.cluster import Cluster, connect
from hoir_ray.sweep.driver import Driver
from hoir_ray.sweep.job import Job
from hoir_ray.sweep.plan import Plan, plan_sweep
from hoir_ray.sweep.run import _job, _tune
from hoir_ray.sweep.trial import JOB_KEY, MESSAGE

SPEC = """\
name: overhead
task: image
data: {{image: sample:astronaut, max_side: 64}}
method: grid
metric: {{name: val_psnr_db, goal: maximize}}
parameters:
  training.seed: {{min: 1, max: {trials}}}
  training.max_epochs: {{value: {epochs}}}
storage: {{uri: {folder}}}
trackers: {{}}
budget: {{max_trials: {trials}}}
"""


def warm(plan: Plan, driver: Driver, cluster: Cluster, jobs: list[Job]) -> None:
    """The product's own way."""
    from hoir_ray.storage import open_storage

    root = open_storage(plan.spec.storage.uri)
    _tune(driver, cluster, job=lambda record: _job(plan, plan.spec, root, record))


def fresh(plan: Plan, driver: Driver, cluster: Cluster, jobs: list[Job]) -> None:
    """Tune's function trainable, a new process for each trial."""
    _plain_tune(_train_directly, jobs)


def nested(plan: Plan, driver: Driver, cluster: Cluster, jobs: list[Job]) -> None:
    """A Tune trial that starts a worker group of one through Ray Train."""
    _plain_tune(_train_nested, jobs, cpus=0.5)


def _train_directly(config: dict[str, Any]) -> None:
    from ray import tune

    from hoir_ray.sweep.worker import train_worker

    train_worker(Job.model_validate(config[JOB_KEY]), lambda message: tune.report({MESSAGE: json.dumps(message)}))


def _train_nested(config: dict[str, Any]) -> None:
    import ray.train
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    def loop(inner: dict[str, Any]) -> None:
        from hoir_ray.sweep.worker import train_worker

        job = Job.model_validate(inner[JOB_KEY])
        train_worker(job, lambda message: ray.train.report({MESSAGE: json.dumps(message)}))

    TorchTrainer(
        loop,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 0.5}),
        run_config=ray.train.RunConfig(storage_path=tempfile.gettempdir(), callbacks=[TuneReportCallback()]),
    ).fit()


def _plain_tune(trainable: Callable[[dict[str, Any]], None], jobs: list[Job], *, cpus: float = 1.0) -> None:
    from ray import tune

    with tempfile.TemporaryDirectory() as scratch:
        tune.Tuner(
            tune.with_resources(trainable, {"CPU": cpus}),
            param_space={JOB_KEY: tune.grid_search([job.model_dump(mode="json") for job in jobs])},
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        ).fit()


def measure(way: Callable[..., None], *, trials: int, epochs: int) -> tuple[float, float, int]:
    """Wall time of the whole, training time of all trials as they measured it themselves, and trials at a time."""
    from hoir_ray.ledger import Ledger, TrialRecord
    from hoir_ray.storage import open_storage

    with tempfile.TemporaryDirectory() as folder, connect() as cluster:
        document = parse_document(SPEC.format(trials=trials, epochs=epochs, folder=folder), name="overhead.yaml")
        plan = plan_sweep(build_spec(document), document)
        storage = open_storage(folder).child("overhead")
        driver = Driver(
            spec=plan.spec,
            space=plan.space,
            ledger=Ledger(storage),
            refuse=plan.refuse,
            describe=lambda point: {},
            max_epochs=lambda record: epochs,
        )
        records = [
            TrialRecord(trial=f"t{i:04d}", number=i, parameters={"training.seed": i, "training.max_epochs": epochs})
            for i in range(1, trials + 1)
        ]
        jobs = [_job(plan, plan.spec, open_storage(folder), record) for record in records]
        began = time.perf_counter()
        way(plan, driver, cluster, jobs)
        wall_s = time.perf_counter() - began
        packs = [json.loads(p.read_text()) for p in Path(folder).glob("overhead/models/*/metrics.json")]
        assert len(packs) == trials, f"{len(packs)} of {trials} trials left a model"
        return wall_s, sum(pack["train_time_s"] for pack in packs), cluster.slots(plan.spec.resources)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="four trials")
    arguments = parser.parse_args()
    trials = 4 if arguments.quick else arguments.trials
    print("| way | trials | whole sweep | of it training | added to each trial |")
    print("|---|---|---|---|---|")
    for way, more in itertools.product((warm, fresh, nested), (0,)):
        wall_s, train_s, slots = measure(way, trials=trials + more, epochs=arguments.epochs)
        # Trials run `slots` at a time, so this is what each waited beyond its own training, start-up included.
        added_s = (wall_s * slots - train_s) / trials
        print(f"| {way.__name__} | {trials} | {wall_s:.1f} s | {train_s / slots:.1f} s | {added_s:.2f} s |", flush=True)


if __name__ == "__main__":
    main()
