"""Cost of a sweep's driver: ten thousand simulated trials, 256 at a time, no Ray and no training.

    python benchmarks/scale.py [--trials 10000] [--slots 256] [--search bayes|random|front] [--storage folder|s3]
    python benchmarks/scale.py --quick

Searcher, stopping rule, driver, ledger, uploads and event lines are the product's. A trial's curve is the recorded one
of the nearest network in `curves.json`, shifted a little by its point; an epoch lasts 10 s of simulated time and more
for larger networks. Times are the processor's, so that a busy machine changes them little.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import math
import os
import resource
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # for the S3 server of the tests

from record_curves import CURVES, SPEC, key_of  # type: ignore[import-not-found]  # the file beside this one

from hoir_ray.cluster.cluster import Capacity, Cluster
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import TrialRecord
from hoir_ray.search import optuna_searcher as searcher
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.storage import BackgroundUploader, Storage, open_storage
from hoir_ray.storage.contract import Backend
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.sweep.event_lines import EventLines
from hoir_ray.sweep.front_packs import FrontPacks
from hoir_ray.sweep.planning.plan import Plan, plan_sweep
from hoir_ray.testing.simulation import Clock, Simulation

PARTS = ("ask", "report", "tell", "stopping", "ledger", "snapshot", "packs", "view", "bookkeeping")
RANGES = {
    "values: [8, 16, 24, 32]}": "min: 8, max: 32}",
    "values: [8, 16, 32, 64]}": "min: 8, max: 64}",
    "values: [0.001, 0.003, 0.01, 0.03]}": "min: 0.001, max: 0.03, distribution: log_uniform_values}",
    "method: grid\n": "",
}
SEARCHES = {
    "bayes": "method: bayes\nearly_terminate: {type: asha, min_iter: 3, eta: 3}\n",
    "random": "method: random\nearly_terminate: {type: asha, min_iter: 3, eta: 3}\n",
    "front": "method: bayes\nearly_terminate: {type: mo_asha, min_iter: 3, eta: 3}\n",
}
FRONT = "metrics: [{name: val_psnr_db, goal: maximize}, {name: num_parameters, goal: minimize}]"


@dataclass
class Processor:
    """Seconds of the calling thread by part, each without those of the parts that it calls."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _stack: list[str] = field(default_factory=lambda: ["simulation"])
    _since: float = field(default_factory=time.thread_time)

    def switch(self) -> None:
        now = time.thread_time()
        self.seconds[self._stack[-1]] += now - self._since
        self._since = now

    def wrap(self, owner: Any, method: str, part: str) -> None:
        inner = getattr(owner, method)

        @functools.wraps(inner)
        def timed(*args: Any, **keywords: Any) -> Any:
            self.switch()
            self._stack.append(part)
            try:
                return inner(*args, **keywords)
            finally:
                self.switch()
                self._stack.pop()

        object.__setattr__(owner, method, timed)


class Counting:
    """A backend that counts what is asked of another one."""

    def __init__(self, inner: Backend) -> None:
        self._inner, self.requests, self.written = inner, Counter[str](), Counter[str]()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value) or name in ("describe", "child"):
            return value

        def counted(*args: Any, **keywords: Any) -> Any:
            self.requests[name] += 1
            if name == "write":
                self.written["snapshots" if "snapshot" in args[0] else "records"] += len(args[1])
            return value(*args, **keywords)

        return counted


class Curves:
    """Recorded curves for points between those of the grid."""

    def __init__(self) -> None:
        self._curves = json.loads(CURVES.read_text())
        self._grid = {
            "network.num_nodes": None,
            "network.input.segments": [8, 16, 32, 64],
            "network.hidden.width": [8, 16, 24, 32],
            "training.optimizer.lr": [0.001, 0.003, 0.01, 0.03],
        }

    def of(self, point: Mapping[str, Any]) -> list[float]:
        near = {path: self._nearest(path, value) for path, value in point.items()}
        luck = zlib.crc32(repr(sorted(point.items())).encode()) / 2**32
        return [value + 0.2 * luck for value in self._curves[key_of(near)]["val_psnr_db"]]

    def _nearest(self, path: str, value: Any) -> Any:
        grid = self._grid.get(path)
        return min(grid, key=lambda v: abs(math.log(v / value))) if grid else value


def build(
    plan: Plan, storage: Storage, uploader: BackgroundUploader, *, slots: int, clock: Callable[[], float]
) -> Driver:
    driver = Driver(
        spec=plan.spec,
        space=plan.space,
        ledger=Ledger(storage, uploader=uploader),
        candidate=plan.candidate,
        clock=clock,
    )
    if len(plan.spec.metrics) > 1:
        driver.board.listeners.append(FrontPacks(driver.board, storage))
    out = Path(os.devnull).open("w")  # noqa: SIM115  # as long as the process
    driver.board.listeners.append(EventLines(driver, Cluster(lambda: Capacity(({"CPU": float(slots)},))), out=out))
    return driver


def watch(processor: Processor, driver: Driver) -> None:
    for method in ("next", "started", "succeeded", "check", "overdue"):
        processor.wrap(driver, method, "bookkeeping")
    for method in ("placed", "reported"):
        processor.wrap(driver, method, "report")
    for method in ("ask", "tell"):
        processor.wrap(driver.searcher, method, method)
    processor.wrap(driver.rule, "decide", "stopping")
    processor.wrap(driver.board.ledger, "save", "ledger")
    processor.wrap(driver.board.ledger, "save_snapshot", "snapshot")
    for listener in driver.board.listeners:
        processor.wrap(listener, "changed", "packs" if isinstance(listener, FrontPacks) else "view")


@dataclass(frozen=True)
class Window:
    """Cost of the trials that ended since the window before, in ms of the processor each."""

    ended: int
    parts: Mapping[str, float]
    background: float
    rss_mib: float
    epochs: float
    asked: float
    best: float

    @property
    def total(self) -> float:
        return sum(self.parts.values()) + self.background


class Measured:
    """A simulated sweep whose driver is measured; its trials report as under Tune, each as soon as its epoch ends."""

    def __init__(self, plan: Plan, storage: Storage, uploader: BackgroundUploader, *, slots: int) -> None:
        clock, self.processor, self._curves = Clock(), Processor(), Curves()
        self.driver = build(plan, storage, uploader, slots=slots, clock=clock)
        watch(self.processor, self.driver)
        self._simulation = Simulation(
            self.driver, row=self._row, epoch_s=lambda r: 10.0 + (r.num_parameters or 0) / 200, slots=slots, clock=clock
        )
        self._epochs, self._best, self._finals = 0, 0.0, list[float]()

    def _row(self, record: TrialRecord, epoch: int) -> dict[str, float]:
        curve = self._curves.of(record.parameters)
        if epoch == 1:
            self._finals.append(max(curve))
        psnr = curve[epoch - 1]
        self._best, self._epochs = max(self._best, psnr), self._epochs + 1
        losses = dict.fromkeys(("val_loss", "train_loss"), 10 ** (-psnr / 10))
        return {
            "epoch": float(epoch),
            "val_psnr_db": psnr,
            **losses,
            "val_ssim": psnr / 40,
            "train_time_s": 10.0 * epoch,
        }

    def _asked(self) -> float:
        """The mean of what the points asked for since the last call would come to, trained to their ends."""
        finals, self._finals = self._finals, []
        return sum(finals) / max(1, len(finals))

    def run(self, *, windows: Sequence[int]) -> Iterator[Window]:
        before, whole, ended, epochs = dict[str, float](), time.process_time(), 0, 0
        for until in windows:
            self._simulation.run(num_ended=until)
            self.processor.switch()
            now_ended = self.driver.board.num_ended
            count, seconds = max(1, now_ended - ended), dict(self.processor.seconds)
            spent = {part: 1000 * (s - before.get(part, 0.0)) / count for part, s in seconds.items()}
            background = 1000 * (time.process_time() - whole) / count - sum(spent.values())
            parts = {part: spent.get(part, 0.0) for part in PARTS}
            yield Window(
                now_ended, parts, background, rss_mib(), (self._epochs - epochs) / count, self._asked(), self._best
            )
            before, whole, ended, epochs = seconds, time.process_time(), now_ended, self._epochs


def rss_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def opened(kind: str) -> Iterator[Storage]:
    """A folder, or a bucket of a real S3 server on loopback."""
    with tempfile.TemporaryDirectory(prefix="hoir-scale-") as folder:
        if kind == "folder":
            yield open_storage(folder).child("scale")
            return
        from tests.servers.seaweedfs import OWNER, SeaweedFS

        os.environ.update(OWNER.environment)
        with SeaweedFS() as server:
            server.client().create_bucket(Bucket="bench")
            yield open_storage("s3://bench/runs", endpoint_url=server.endpoint_url).child("scale")


def planned(search: str, *, trials: int, seed: int) -> Plan:
    text = SPEC.replace("max_trials: 1000", f"max_trials: {trials}")
    for values, range_ in RANGES.items():
        text = text.replace(values, range_)
    if search == "front":
        text = text.replace("metric: {name: val_psnr_db, goal: maximize}", FRONT)
    document = parse_document(f"{text}{SEARCHES[search]}seed: {seed}\n", name="scale.yaml")
    return plan_sweep(build_spec(document), document)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--search", choices=tuple(SEARCHES), default="bayes")
    parser.add_argument("--storage", choices=("folder", "s3"), default="folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evidence", type=int, help="ended trials that the sampler knows at most, instead of our own")
    parser.add_argument("--quick", action="store_true", help="600 trials, 64 at a time")
    arguments = parser.parse_args()
    trials, slots = (600, 64) if arguments.quick else (arguments.trials, arguments.slots)
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    searcher.MAX_EVIDENCE = arguments.evidence or searcher.MAX_EVIDENCE
    steps = sorted({trials // 10, trials // 5, trials // 2, trials})
    with opened(arguments.storage) as storage:
        counting = Counting(storage.backend)
        counted = Storage(counting)
        uploader = BackgroundUploader(counted, max_queued=1_000_000)
        simulation = Measured(
            planned(arguments.search, trials=trials, seed=arguments.seed), counted, uploader, slots=slots
        )
        print(
            f"{arguments.search}, {trials:,} trials, {slots} at a time, storage: {arguments.storage}, "
            f"load {os.getloadavg()[0]:.1f}; ms of the processor per trial"
        )
        print(
            f"{'trials':>7}"
            + "".join(f"{part:>13}" for part in (*PARTS, "background", "all"))
            + f"{'epochs':>8}{'peak MiB':>9}{'asked dB':>9}{'best dB':>8}"
        )
        for window in simulation.run(windows=steps):
            cells = (*(window.parts[part] for part in PARTS), window.background, window.total)
            print(
                f"{window.ended:>7,}"
                + "".join(f"{ms:>13.2f}" for ms in cells)
                + f"{window.epochs:>8.1f}{window.rss_mib:>9.0f}{window.asked:>9.2f}{window.best:>8.2f}",
                flush=True,
            )
        uploader.close()
        requests = ", ".join(f"{n / trials:.2f} {name}" for name, n in counting.requests.items())
        sizes = ", ".join(f"{n / trials / 1000:.1f} kB in {name}" for name, n in counting.written.items())
        print(f"per trial: {requests}; {sizes}")


if __name__ == "__main__":
    main()
