"""Cost of storage: rates for small objects, a model pack and a checkpoint, and the requests that a trial makes.

Run with `python -m benchmarks.storage`. S3 is a real server on loopback, so its figures are the cost of the protocol
without a network; a trial's requests are counted in the log of a proxy before it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hoir_ray.storage import BackgroundUploader, Storage, acquire_lock, check_storage, open_storage
from tests.servers.s3_proxy import S3Proxy
from tests.servers.seaweedfs import OWNER, SeaweedFS

_SMALL = b"x" * 2_000  # a ledger entry
_COUNT = 100


def main() -> None:
    os.environ.update(OWNER.environment)
    with tempfile.TemporaryDirectory() as temp, SeaweedFS() as server, S3Proxy(server.endpoint_url) as proxy:
        server.client().create_bucket(Bucket="bench")
        folder = open_storage(f"{temp}/runs")
        bucket = open_storage("s3://bench/runs", endpoint_url=server.endpoint_url)
        counted = open_storage("s3://bench/counted", endpoint_url=proxy.endpoint_url)
        print_rates(folder, bucket, Path(temp))
        print_requests(counted, proxy, Path(temp))


def print_rates(folder: Storage, bucket: Storage, temp: Path) -> None:
    """Operations per second, and MB/s for files, side by side."""
    large = temp / "large"
    large.write_bytes(os.urandom(64 << 20))
    print(f"{'operation':<34}{'folder':>12}{'S3, loopback':>14}")
    for name, operation, unit, amount in (
        ("put 2 kB", lambda s, i: s.put(f"ledger/{i}", _SMALL), "/s", 1.0),
        ("put 2 kB, only if absent", lambda s, i: s.put(f"absent/{i}", _SMALL, if_absent=True), "/s", 1.0),
        ("get 2 kB", lambda s, i: s.get(f"ledger/{i}"), "/s", 1.0),
        ("exists", lambda s, i: s.exists(f"ledger/{i}"), "/s", 1.0),
        (f"list {_COUNT} objects", lambda s, i: s.list("ledger"), "/s", 1.0),
    ):
        rates = [_COUNT * amount / _seconds(s, operation, _COUNT) for s in (folder, bucket)]
        print(f"{name:<34}{rates[0]:>10.0f}{unit}{rates[1]:>12.0f}{unit}")
    for name, operation in (
        ("put a file of 64 MiB", lambda s, i: s.put_file("large", large)),
        ("get a file of 64 MiB", lambda s, i: s.get_file("large", temp / "copy")),
    ):
        rates = [67.1 / _seconds(s, operation, 1) for s in (folder, bucket)]
        print(f"{name:<34}{rates[0]:>8.0f} MB/s{rates[1]:>9.0f} MB/s")


def print_requests(storage: Storage, proxy: S3Proxy, temp: Path) -> None:
    """Requests of the acts that a sweep is made of."""
    pack = temp / "pack"
    pack.mkdir()
    for name in ("model.safetensors", "config.json", "metrics.json", "preview.png"):
        (pack / name).write_bytes(os.urandom(160_000))

    def lock() -> None:
        acquire_lock(storage, owner="bench").release()

    def trial() -> None:
        """Its states PENDING, RUNNING and FINISHED, two checkpoints of which one goes, its pack and its picture."""
        with BackgroundUploader(storage) as uploads:
            for state in ("pending", "running"):
                storage.put("ledger/t1.json", state.encode())
            for epoch in (1, 2):
                (temp / f"e{epoch}").mkdir()
                (temp / f"e{epoch}" / "last.ckpt").write_bytes(os.urandom(500_000))
                uploads.put_folder(f"trials/t1/checkpoints/e{epoch}", temp / f"e{epoch}")
            uploads.delete_all("trials/t1/checkpoints/e1")
            storage.put_folder("models/t1", pack)
            storage.put("trials/t1/render.png", _SMALL)
            storage.put("ledger/t1.json", b"finished")

    acts: tuple[tuple[str, Callable[[], object]], ...] = (
        ("preflight check", lambda: check_storage(storage)),
        ("lock and release", lock),
        ("one trial", trial),
        ("pull a model pack", lambda: storage.get_folder("models/t1", temp / "pulled")),
    )
    print(f"\n{'act':<34}{'requests':>12}  of them")
    for name, act in acts:
        before = len(proxy.log)
        act()
        kinds = Counter("LIST" if "list-type" in r.path else r.method for r in proxy.log[before:])
        print(f"{name:<34}{kinds.total():>12}  {', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}")


def _seconds(storage: Storage, operation: Callable[[Storage, int], object], times: int) -> float:
    start = time.perf_counter()
    for number in range(times):
        operation(storage, number)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
