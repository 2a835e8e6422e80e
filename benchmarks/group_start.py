"""Time of a two-worker trial until its first epoch is known, against bare Ray Train doing the same work.

    python benchmarks/group_start.py [--address auto] [--rounds 3] [--quick]

Both start two processes, join them by torch's process group and train one epoch with Lightning's DDP. Bare is a
TorchTrainer alone; ours is a whole trial of a sweep: drawn by the searcher, run by Tune, kept in the ledger. Without
an address Ray starts here; on hosts of their own: cluster/local.sh run head .venv/bin/python benchmarks/group_start.py
--address auto.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from hoir_ray.cluster.cluster import Cluster, connect
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.sweep.planning.plan import Plan, plan_sweep
from hoir_ray.sweep.run import run_sweep

SPEC = """\
name: group
task: image
data: {{image: sample:astronaut, max_side: 128}}
method: random
metric: {{name: val_psnr_db, goal: maximize}}
parameters: {{training.max_epochs: {{value: 1}}}}
resources: {{workers: 2, cpus: 1}}
storage: {{uri: {folder}}}
trackers: {{}}
budget: {{max_trials: 1}}
"""


class FirstEpoch:
    """A listener that keeps the time of the first epoch."""

    at: float = math.nan

    def changed(self, record: Any, event: str) -> None:
        if event == "epoch" and math.isnan(self.at):
            self.at = time.time()

    def close(self) -> None: ...


def ours(address: str | None) -> float:
    """Seconds from the trial's record to its first epoch."""
    known = FirstEpoch()

    def watch(driver: Driver, cluster: Cluster) -> FirstEpoch:
        return known

    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        opened, _ = run_sweep(_plan(folder), watch=watch, address=address)
    (record,) = opened.records
    assert record.state == "FINISHED", record.reason
    return known.at - datetime.fromisoformat(record.created_at).timestamp()


def bare(address: str | None) -> float:
    """Seconds from `fit` to the first epoch."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, connect(address):
        note = Path(folder, "first-epoch")
        config = _plan(folder).config({"training.max_epochs": 1}).model_dump(mode="json")
        trainer = TorchTrainer(
            _train,
            train_loop_config={"config": config, "note": str(note)},
            scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(storage_path=folder),
        )
        began = time.time()
        trainer.fit()
        return float(json.loads(note.read_text())) - began


def _train(given: dict[str, Any]) -> None:
    import ray.train
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    from hoir_ray.tasks import load_task
    from hoir_ray.tasks.fit import fit
    from hoir_ray.training.loop import Distributed, Epoch, Hooks

    task = load_task("image")
    config = task.config.model_validate(given["config"])

    def on_epoch(epoch: Epoch) -> None:
        if ray.train.get_context().get_world_rank() == 0:
            Path(given["note"]).write_text(json.dumps(time.time()))

    fit(
        task,
        config,
        task.data(config),
        Hooks(on_epoch=on_epoch),
        distributed=Distributed(
            strategy=RayDDPStrategy(),  # type: ignore[no-untyped-call]
            plugins=[RayLightningEnvironment()],  # type: ignore[no-untyped-call]
            accelerator="cpu",
        ),
    )


def _plan(folder: str) -> Plan:
    document = parse_document(SPEC.format(folder=folder), name="group.yaml")
    return plan_sweep(build_spec(document), document)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", help="of a running cluster whose machines share the working directory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round")
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {"bare TorchTrainer": [], "ours": []}
    for _ in range(1 if arguments.quick else arguments.rounds):
        times["bare TorchTrainer"].append(bare(arguments.address))
        times["ours"].append(ours(arguments.address))
    base = statistics.median(times["bare TorchTrainer"])
    print("| two workers, until the first epoch is known | median, s | ratio |\n|---|---|---|")
    for way, seconds in times.items():
        print(f"| {way} | {statistics.median(seconds):.1f} | {statistics.median(seconds) / base:.2f}x |")


if __name__ == "__main__":
    main()
