"""Ray: a private one on this machine or a running cluster, and how many trials it holds at a time."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoir_ray.errors import RequestError
from hoir_ray.spec import Resources


@dataclass(frozen=True)
class Cluster:
    """What Ray offers: CPUs and GPUs of each node."""

    nodes: tuple[dict[str, float], ...]

    def slots(self, resources: Resources) -> int:
        """Trials that fit at the same time, each worker on one node.

        Raises:
            RequestError: If not even one fits, naming what is asked and what there is.
        """
        fitting = 0
        for node in self.nodes:
            by_cpu = node.get("CPU", 0.0) / resources.cpus
            by_gpu = node.get("GPU", 0.0) / resources.gpus if resources.gpus else float("inf")
            fitting += int(min(by_cpu, by_gpu) + 1e-9)
        slots = fitting // resources.workers
        if slots < 1:
            offer = "; ".join(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in self.nodes) or "no nodes"
            raise RequestError(
                f"resources: a trial of {resources.workers} worker(s) with {resources.cpus:g} CPU(s) and "
                f"{resources.gpus:g} GPU(s) each fits nowhere; Ray has {offer}"
            )
        if resources.concurrent_trials == "auto":
            return slots
        return min(slots, resources.concurrent_trials)


@contextmanager
def connect(address: str | None = None) -> Iterator[Cluster]:
    """Ray for the time of a sweep.

    Without an address a private one starts here, listening on loopback only, and ends with the sweep, even if a
    cluster happens to run on this machine.

    Args:
        address: Of a running cluster (`auto`, `host:port` or `ray://host:port`).

    Raises:
        RequestError: If there is no cluster at the address.
    """
    _quiet()
    import ray

    temp = Path(tempfile.mkdtemp(prefix="hoir-"))
    try:
        if address is None:
            _start_here(temp)
        else:
            try:
                ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
            except (ConnectionError, OSError, ValueError, RuntimeError) as error:
                raise RequestError(f"--address {address}: no Ray cluster answers there: {error}") from None
        nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]
        yield Cluster(tuple(dict(n["Resources"]) for n in nodes if n["Alive"]))
    finally:
        ray.shutdown()
        shutil.rmtree(temp, ignore_errors=True)


def _start_here(temp: Path) -> None:
    import ray

    os.environ.pop("RAY_ADDRESS", None)
    # Ray's memory monitor kills a whole sweep for one trial's appetite; see `Failures.on_oom` for what is done instead.
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    ray.init(
        address="local",
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(temp),
        object_store_memory=256 * 2**20,
    )


def _quiet() -> None:
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_TRAIN_V2_ENABLED": "1",
        "RAY_DEDUP_LOGS": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        "TUNE_WARN_THRESHOLD_S": "30",
        "TUNE_GLOBAL_CHECKPOINT_S": "86400",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
