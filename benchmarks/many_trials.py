"""Cost of two thousand finished trials: listing them, ranking them, resuming the sweep, the driver's memory.

Run with `python -m benchmarks.many_trials`. The sweep lies in a real S3 server on loopback.
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import TrialRecord, best_row, now
from hoir_ray.results.summary import write_summary
from hoir_ray.results.sweep_results import SPEC
from hoir_ray.spec.document import dump_document, parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.storage import Storage, open_storage
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.sweep.planning.plan import Plan, plan_sweep
from hoir_ray.sweep.resume import resolved
from hoir_ray.testing.simulation import Simulation
from tests.servers.seaweedfs import OWNER, SeaweedFS

NUM_TRIALS, NUM_EPOCHS = 2_000, 27
TEXT = """\
name: many
task: image
data: {image: sample:astronaut, max_side: 64}
metric: {name: val_psnr_db, goal: maximize}
parameters:
  network.layer_type: {values: [continuous, discontinuous, fourier, polynomial]}
  network.hidden.width: {min: 4, max: 4000}
  training.optimizer.lr: {min: 1.0e-4, max: 1.0e-1, distribution: log_uniform_values}
  training.max_epochs: {value: 27}
early_terminate: {type: asha, min_iter: 3, eta: 3}
budget: {max_trials: 4000}
"""


def main() -> None:
    os.environ.update(OWNER.environment)
    with tempfile.TemporaryDirectory(), SeaweedFS() as server:
        server.client().create_bucket(Bucket="bench")
        storage = open_storage("s3://bench/runs/many", endpoint_url=server.endpoint_url)
        plan = plan_sweep(build_spec(parse_document(TEXT, name="many.yaml")))
        records = [made(plan, number) for number in range(1, NUM_TRIALS + 1)]
        fill(storage, plan, records)
        for command in ("trials", "best"):
            arguments = [command, storage.uri, "--endpoint-url", server.endpoint_url]
            show(f"hoir {command}", partial(hoir, *arguments))
        show("the ledger read", lambda: Ledger(storage).load())
        drivers: list[Driver] = []
        show("the driver rebuilt", lambda: drivers.append(build(storage, plan)))
        (driver,) = drivers
        show("20 trials asked for, reported and ended", lambda: step(driver, 20))
        show("a snapshot of the ledger", lambda: driver.board.ledger.save_snapshot(driver.records.values()))
        show("the summary written", lambda: write_summary(storage, plan.spec, list(driver.records.values())))
        before = memory_mib()
        step(driver, 100)
        print(f"{'memory, and what 100 more trials add':<42}{before:6.0f} MiB{memory_mib() - before:+5.0f} MiB")


def made(plan: Plan, number: int) -> TrialRecord:
    generator = random.Random(number)
    parameters = {
        "network.layer_type": generator.choice(["continuous", "discontinuous", "fourier", "polynomial"]),
        "network.hidden.width": generator.randint(4, 4000),
        "training.optimizer.lr": 10 ** generator.uniform(-4, -1),
        "training.max_epochs": NUM_EPOCHS,
    }
    epochs = generator.choice([3, 3, 9, NUM_EPOCHS])
    curve = tuple(row(epoch, generator.random()) for epoch in range(1, epochs + 1))
    finished = epochs == NUM_EPOCHS
    return TrialRecord(
        trial=f"t{number:04d}",
        number=number,
        parameters=parameters,
        state="FINISHED" if finished else "PRUNED",
        reason="best val_psnr_db at epoch 27" if finished else f"epoch {epochs}: not among the best",
        attempt=1,
        num_parameters=1000 + number,
        curve=curve,
        best=best_row(curve, metric=plan.spec.metric),
        created_at=now(),
        ended_at=now(),
        model=f"models/t{number:04d}" if finished else None,
        history=tuple(f"{now()} something happened to it" for _ in range(5)),
    )


def row(epoch: int, luck: float) -> dict[str, float]:
    quality = 20 + luck - 5 / epoch
    return {
        "epoch": float(epoch),
        "val_psnr_db": quality,
        "val_loss": 1 / quality,
        "train_loss": 1 / quality,
        "lr": 0.01,
    }


def fill(storage: Storage, plan: Plan, records: list[TrialRecord]) -> None:
    storage.put(SPEC, dump_document(resolved(plan.spec)).encode())
    ledger = Ledger(storage)

    def save_all() -> None:
        for record in records:
            ledger.save(record)

    show(f"{NUM_TRIALS:,} records written one by one", save_all)
    time.sleep(6)  # beyond the tolerance for clocks, as between any two starts
    ledger.save_snapshot(records)


def build(storage: Storage, plan: Plan) -> Driver:
    return Driver(
        spec=plan.spec,
        space=plan.space,
        ledger=Ledger(storage),
        candidate=plan.candidate,
        records=Ledger(storage).load(),
    )


def step(driver: Driver, count: int) -> None:
    simulation = Simulation(driver, row=lambda record, epoch: row(epoch, random.random()))
    simulation.run(num_ended=driver.board.num_ended + count)


def hoir(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "hoir_ray", *arguments], stdout=subprocess.DEVNULL, check=True)


def show(what: str, act: Callable[[], object]) -> None:
    began = time.perf_counter()
    act()
    print(f"{what:<42}{time.perf_counter() - began:8.2f} s", flush=True)


def memory_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
