"""What it costs a trial to keep its checkpoints and its model in S3 instead of a folder, and how often it asks S3.

Run with `python -m benchmarks.uploads`. The trial is the one that a sweep runs, without Ray around it. The server is a
real one on loopback, so processor time is compared: it holds the uploads, and neither the server nor other programs.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections import Counter

from hoir_ray.sweep.job import Job
from hoir_ray.sweep.worker import train_worker
from hoir_ray.task import TaskConfig
from hoir_ray.tasks import load_task
from tests.servers.s3_proxy import S3Proxy
from tests.servers.seaweedfs import OWNER, SeaweedFS

ROUNDS, EPOCHS = 4, 60


def main() -> None:
    os.environ.update(OWNER.environment)
    with tempfile.TemporaryDirectory() as temp, SeaweedFS() as server, S3Proxy(server.endpoint_url) as proxy:
        server.client().create_bucket(Bucket="bench")
        seconds: dict[str, list[float]] = {"folder": [], "S3": []}
        run(temp, None, trial="warm-up")
        for number in range(ROUNDS):
            seconds["folder"].append(run(temp, None, trial=f"t{number}"))
            seconds["S3"].append(run("s3://bench/runs", server.endpoint_url, trial=f"t{number}"))
        for where, times in seconds.items():
            print(f"{where:<8}{statistics.median(times):8.2f} s a trial, median of {ROUNDS}")
        ratio = statistics.median(seconds["S3"]) / statistics.median(seconds["folder"]) - 1
        print(f"S3 costs {ratio:+.1%}")
        took = run("s3://bench/counted", proxy.endpoint_url, trial="t1")
        counts = Counter(r.method for r in proxy.log)
        print(f"requests of a trial of {took:.0f} s: {len(proxy.log)} ({dict(counts)}), and three for its record")


def run(storage: str, endpoint_url: str | None, *, trial: str) -> float:
    """Processor seconds from the data to the published model."""
    task = load_task("image")
    config: TaskConfig = task.config.model_validate(
        {"data": {"image": "sample:astronaut", "max_side": 128}, "training": {"max_epochs": EPOCHS}}
    )
    job = Job(
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
    began = time.process_time()
    train_worker(job, lambda message: None)
    return time.process_time() - began


if __name__ == "__main__":
    main()
