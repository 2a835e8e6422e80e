"""Cost to a trial of keeping checkpoints and model in S3 instead of a folder, and its requests to S3.

Run with `python -m benchmarks.uploads`. The trial is the one that a sweep runs, without Ray around it; the server is a
real one on loopback. Two looks at it:

- The processor time of the thread that uploads, as a share of the whole trial's. Training cannot lose more than that to
  it, and loses it only where it has no second core. This is the figure to go by.
- Trials in a folder and in S3 in turns, each pair one ratio of their processor times and one of their wall times. Some
  machines change their speed within seconds by more than uploads cost, so that it takes many pairs to see little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from hoir_ray.errors import HoirError
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import State, TrialRecord
from hoir_ray.storage import BackgroundUploader, open_storage
from hoir_ray.tasks import load_task
from hoir_ray.tasks.contract import TaskConfig
from hoir_ray.trials import worker
from hoir_ray.trials.attempt import Attempt
from tests.servers.s3_proxy import S3Proxy
from tests.servers.seaweedfs import OWNER, SeaweedFS

STATES: tuple[State, ...] = ("PENDING", "RUNNING", "FINISHED")


@dataclass(frozen=True)
class Cost:
    """Seconds of one trial, from the data to the published model."""

    processor_s: float
    wall_s: float
    uploads_s: float  # of the processor's, by the thread of the uploads


class TimedUploader(BackgroundUploader):
    """One that adds up what its thread takes of the processor."""

    processor_s = 0.0

    def _try(self, key: str, upload: Callable[[], object]) -> HoirError | None:
        began = time.thread_time()
        try:
            return super()._try(key, upload)
        finally:
            TimedUploader.processor_s += time.thread_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="pairs of trials")
    parser.add_argument("--epochs", type=int, default=40, help="of each trial")
    options = parser.parse_args()
    os.environ.update(OWNER.environment)
    worker.BackgroundUploader = TimedUploader  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as temp, SeaweedFS() as server, S3Proxy(server.endpoint_url) as proxy:
        server.client().create_bucket(Bucket="bench")
        for where, url in ((temp, None), ("s3://bench/runs", server.endpoint_url)):
            run(where, url, trial="warm-up", epochs=options.epochs)
        pairs = []
        for number in range(options.rounds):
            both = [(temp, None), ("s3://bench/runs", server.endpoint_url)]
            order = both if number % 2 else both[::-1]
            costs = {where: run(where, url, trial=f"t{number}", epochs=options.epochs) for where, url in order}
            pairs.append((costs[temp], costs["s3://bench/runs"]))
        print_costs(pairs)
        print_requests(proxy)


def print_costs(pairs: list[tuple[Cost, Cost]]) -> None:
    for side, where in ((0, "a folder"), (1, "S3")):
        share = sorted(pair[side].uploads_s / pair[side].processor_s for pair in pairs)
        seconds = statistics.median(pair[side].uploads_s for pair in pairs)
        print(
            f"uploads to {where}: {seconds:.3f} s of the processor, {statistics.median(share):.2%} of the trial's"
            f" ({share[0]:.2%} to {share[-1]:.2%})"
        )
    print(f"\n{'a trial':<18}{'folder, s':>12}{'S3, s':>10}{'S3 costs':>12}   of {len(pairs)} pairs, lowest to highest")
    for name in ("processor_s", "wall_s"):
        folder, bucket = ([getattr(pair[side], name) for pair in pairs] for side in (0, 1))
        more = sorted(b / f - 1 for f, b in zip(folder, bucket, strict=True))
        row = f"{statistics.median(folder):>12.2f}{statistics.median(bucket):>10.2f}{statistics.median(more):>+12.1%}"
        print(f"{name.removesuffix('_s'):<18}{row}   {more[0]:+.1%} to {more[-1]:+.1%}")


def print_requests(proxy: S3Proxy) -> None:
    """Of a trial that keeps its last checkpoint alone, of one that keeps one on the way too, each with its record."""
    print(f"\n{'a trial, requests to S3':<44}{'all':>6}  of them")
    for name, every_s in (("one best and one last checkpoint", 1e9), ("and one more on the way", 0.0)):
        proxy.log.clear()
        worker.S3_EVERY_S = every_s
        # The second epoch's report takes a while, in which the first one's checkpoint is uploaded.
        run("s3://bench/counted", proxy.endpoint_url, trial=f"t{every_s:g}", epochs=2, last_report_s=3.0)
        ledger = Ledger(open_storage("s3://bench/counted", endpoint_url=proxy.endpoint_url).child("bench"))
        for state in STATES:
            ledger.save(TrialRecord(trial="t1", number=1, parameters={}, state=state))
        kinds = Counter("LIST" if "list-type" in r.path else r.method for r in proxy.log)
        shown = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        print(f"{name:<44}{kinds.total():>6}  {shown}")
        for request in proxy.log:
            print(f"    {request.method:<7}{urlsplit(request.path).path.removeprefix('/bench/counted/bench/')}")


def run(storage: str, endpoint_url: str | None, *, trial: str, epochs: int, last_report_s: float = 0.0) -> Cost:
    """Train and publish one network.

    Args:
        last_report_s: What the report of the last epoch is made to take.
    """
    task = load_task("image")
    config: TaskConfig = task.config.model_validate(
        {"data": {"image": "sample:astronaut", "max_side": 128}, "training": {"max_epochs": epochs}}
    )
    attempt = Attempt(
        sweep="bench",
        trial=trial,
        attempt=1,
        task="image",
        config=config.model_dump(mode="json"),
        metric="val_psnr_db",
        goal="maximize",
        storage_uri=storage,
        endpoint_url=endpoint_url,
        trackers={},
        parameters={},
        workers=1,
        cpus=1,
        memory_limit=None,
        unsaved=f"{tempfile.gettempdir()}/unsaved",
    )
    messages = 0

    def report(message: object) -> None:
        nonlocal messages
        messages += 1
        if messages == epochs:
            time.sleep(last_report_s)

    TimedUploader.processor_s = 0.0
    began, began_wall = time.process_time(), time.perf_counter()
    worker.train_worker(attempt, report)
    return Cost(time.process_time() - began, time.perf_counter() - began_wall, TimedUploader.processor_s)


if __name__ == "__main__":
    main()
