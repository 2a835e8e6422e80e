"""Overhead of Ray Tune's loop on each trial in the driver's process, with trials that do nothing.

    python benchmarks/tune_loop.py [--trials 600] [--slots 2] [--quick]
    python benchmarks/tune_loop.py --trials 8 --slots 8 --seconds 60 [--starting 1]     how fast processes start

Tune is set up as by `hoir sweep`, with its hooks, driver and ledger; a trial reports three rows and ends. Printed per
window: the processor's ms per trial of the whole process, of the driver in it, and what remains: Tune and Ray.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scale import Processor, planned, rss_mib, watch  # type: ignore[import-not-found]  # the file beside this one

from hoir_ray.cluster.cluster import Capacity, Cluster, connect
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import TrialRecord
from hoir_ray.storage import BackgroundUploader, open_storage
from hoir_ray.sweep import tune as sweep_tune
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.trials.attempt import Attempt
from hoir_ray.trials.messages import EpochEnded, Finished, Message, Placed
from hoir_ray.trials.trainable import JOB_KEY, MESSAGE

NUM_EPOCHS, FIRST = 3, 8


def do_nothing(config: dict[str, Any]) -> None:
    from ray import tune

    def report(message: Message) -> None:
        tune.report({MESSAGE: message.to_json()})

    time.sleep(config[JOB_KEY]["config"]["seconds"])
    report(Placed(node="here"))
    for epoch in range(1, NUM_EPOCHS + 1):
        report(EpochEnded(row={"epoch": float(epoch), "val_psnr_db": float(epoch)}))
    report(Finished(reason="done", model=None))


class Windows:
    """A listener that prints a line whenever so many trials more have ended."""

    def __init__(self, processor: Processor, *, every: int) -> None:
        self._processor, self._every = processor, every
        self._began, self._started, self._ended = time.perf_counter(), 0, 0
        self._since = (time.process_time(), 0.0, time.perf_counter())

    def changed(self, record: TrialRecord, event: str) -> None:
        self._started += event == "started"
        self._ended += event == "ended"
        if event == "started" and self._started <= FIRST:
            print(f"started {self._started} after {time.perf_counter() - self._began:.1f} s", flush=True)
        if event == "ended" and self._ended % self._every == 0:
            self._processor.switch()
            driver = sum(s for part, s in self._processor.seconds.items() if part != "simulation")
            now = (time.process_time(), driver, time.perf_counter())
            whole, own, wall = (1000 * (a - b) / self._every for a, b in zip(now, self._since, strict=True))
            print(f"{self._ended:>7,}{whole:>10.1f}{own:>10.1f}{whole - own:>15.1f}{wall:>10.0f}{rss_mib():>10.0f}")
            self._since = now


@contextmanager
def driven(*, trials: int, every: int) -> Iterator[Driver]:
    with tempfile.TemporaryDirectory(prefix="hoir-tune-loop-") as folder:
        storage = open_storage(folder).child("loop")
        uploader, plan = BackgroundUploader(storage, max_queued=1_000_000), planned("random", trials=trials, seed=0)
        driver = Driver(
            spec=plan.spec.model_copy(update={"early_terminate": {"type": "none"}}),
            space=plan.space,
            ledger=Ledger(storage, uploader=uploader),
            candidate=plan.candidate,
        )
        processor = Processor()
        watch(processor, driver)
        driver.board.listeners.append(Windows(processor, every=every))
        yield driver
        uploader.close()


def job_of(driver: Driver, record: TrialRecord, *, seconds: float) -> Attempt:
    return Attempt(
        sweep="loop",
        trial=record.trial,
        attempt=record.attempt + 1,
        task="image",
        config={"seconds": seconds},
        metric="val_psnr_db",
        goal="maximize",
        storage_uri="",
        endpoint_url=None,
        trackers={},
        parameters=record.parameters,
        workers=1,
        cpus=driver.spec.resources.cpus,
        memory_limit=None,
        unsaved="",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=600)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.0, help="that each trial lasts")
    parser.add_argument("--starting", type=int, help="processes that start at the same time, instead of our own number")
    parser.add_argument("--quick", action="store_true", help="60 trials")
    arguments = parser.parse_args()
    trials = 60 if arguments.quick else arguments.trials
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    sweep_tune.MAX_STARTING = arguments.starting or sweep_tune.MAX_STARTING
    sweep_tune.run_trial = do_nothing  # type: ignore[attr-defined]
    with driven(trials=trials, every=max(1, trials // 6)) as driver, connect():
        resources = driver.spec.resources.model_copy(
            update={"cpus": (os.cpu_count() or 1) / arguments.slots, "concurrent_trials": arguments.slots}
        )
        driver.spec = driver.spec.model_copy(update={"resources": resources})
        cluster = Cluster(lambda: Capacity(({"CPU": float(os.cpu_count() or 1)},)))
        shown = f"{trials} trials, {arguments.slots} at a time, load {os.getloadavg()[0]:.1f}"
        print(f"{shown}; ms of the processor per trial")
        print(f"{'trials':>7}{'process':>10}{'driver':>10}{'Tune and Ray':>15}{'wall ms':>10}{'peak MiB':>10}")
        sweep_tune.run_tune(driver, cluster, attempt=lambda record: job_of(driver, record, seconds=arguments.seconds))


if __name__ == "__main__":
    main()
