"""Ray: a private one on this machine or a running cluster, and how many trials it holds at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hoir_ray.errors import RequestError
from hoir_ray.spec import Resources
from hoir_ray.sweep.local_ray import local_ray


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
    with local_ray() if address is None else _joined(address):
        import ray

        ray._private.worker.print_to_stdstream = _say_nothing  # what raylets notice; no setting turns it off
        nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]
        yield Cluster(tuple(dict(n["Resources"]) for n in nodes if n["Alive"]))


@contextmanager
def _joined(address: str) -> Iterator[None]:
    import ray

    try:
        try:
            ray.init(address=address, logging_level=logging.CRITICAL, log_to_driver=False)
        except (ConnectionError, OSError, ValueError, RuntimeError) as error:
            raise RequestError(f"--address {address}: no Ray cluster answers there: {error}") from None
        yield
    finally:
        ray.shutdown()


def _say_nothing(data: dict[str, str], ignore_prefix: bool) -> None:
    """In the place of Ray's printing."""


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
        # How long a warm process waits for the trial before to leave, which may still be uploading.
        "TUNE_FUNCTION_THREAD_TIMEOUT_S": "120",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # failures are told from the ledger, in one line each
