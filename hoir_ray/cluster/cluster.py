"""Ray: a private one on this machine or a running cluster, and how many trials it holds at a time."""

from __future__ import annotations

import functools
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from hoir_ray.cluster.leftovers import remove_leftovers
from hoir_ray.cluster.local_ray import local_ray, stop_ray
from hoir_ray.cluster.patches import quiet_raylets
from hoir_ray.cluster.paths import without_driver_paths
from hoir_ray.cluster.watch import UNREACHED_S, Health, RayDiedError, answers, remote_look
from hoir_ray.errors import RequestError
from hoir_ray.machine.native_output import no_native_stderr, stderr_descriptor
from hoir_ray.machine.temporary import temporary_place
from hoir_ray.spec.schema import Resources

LOOK_EVERY_S = 2.0
_ASK_AGAIN_S = 0.25
JOIN_UNREACHED_S = 3.0  # without an answer a head that is to be joined counts as dead
_TELLER = "import sys; sys.stdin.buffer.read() or sys.stderr.write(sys.argv[1])"

T = TypeVar("T")


@dataclass(frozen=True)
class Capacity:
    """CPUs and GPUs of each node of a Ray cluster at a moment."""

    nodes: tuple[Mapping[str, float], ...]

    def slots(self, resources: Resources) -> int:
        """Count the trials that fit at the same time, each worker on one node."""
        return sum(_fitting(node, resources) for node in self.nodes) // resources.workers

    def __str__(self) -> str:
        kinds = Counter((n.get("CPU", 0.0), n.get("GPU", 0.0)) for n in self.nodes)
        nodes = [f"{count} x " * (count > 1) + f"{c:g} CPUs, {g:g} GPUs" for (c, g), count in sorted(kinds.items())]
        return "; ".join(nodes) or "no nodes"


class Cluster:
    """A running Ray, whose machines come and go.

    Args:
        look: Tells what there is at the moment.
    """

    def __init__(self, look: Callable[[], Capacity], *, health: Health | None = None) -> None:
        self._look, self._capacity, self._looked_at = look, Capacity(()), float("-inf")
        self._health = health or Health()

    @property
    def death(self) -> str:
        """Name the process of Ray that has died; empty as long as none has."""
        return self._health.death

    def call(self, function: Callable[[], T]) -> T:
        """Run a function that calls Ray; see `Health.call`."""
        return self._health.call(function)

    def capacity(self) -> Capacity:
        """Capacity of the cluster, a few seconds old at most; draining nodes do not count."""
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._capacity, self._looked_at = self._look(), time.monotonic()
        return self._capacity

    def slots(self, resources: Resources) -> int:
        """Trials to ask Ray for: as many as it has room for, or may start machines for, and no more than allowed."""
        limit = resources.concurrent_trials
        if resources.autoscaled and limit != "auto":
            return limit
        slots = self.capacity().slots(resources)
        return slots if limit == "auto" else min(slots, limit)

    def refuse_unplaceable(self, resources: Resources) -> None:
        """Raises RequestError if not even one trial fits, naming what is asked and what there is."""
        if self.slots(resources) < 1:
            raise RequestError(
                f"resources: a trial needs {needs(resources)}, which fits nowhere; Ray has {self.capacity()}"
            )


def needs(resources: Resources) -> str:
    """Format the resources of one trial for a message."""
    return f"{resources.workers} worker(s) with {resources.cpus:g} CPU(s) and {resources.gpus:g} GPU(s) each"


def _fitting(node: Mapping[str, float], resources: Resources) -> int:
    by_cpu = node.get("CPU", 0.0) / resources.cpus
    by_gpu = node.get("GPU", 0.0) / resources.gpus if resources.gpus else float("inf")
    return int(min(by_cpu, by_gpu) + 1e-9)


def _look() -> Capacity:
    import ray

    from hoir_ray.cluster.placement import draining_nodes

    nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]
    leaving = draining_nodes()
    alive = tuple(dict(n["Resources"]) for n in nodes if n["Alive"] and n["NodeID"] not in leaving)
    return Capacity(alive)


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
    prepare_environment()
    with quiet_raylets(), no_native_stderr(), local_ray() if address is None else _joined(address) as health:
        yield Cluster(_look, health=health)


@contextmanager
def _joined(address: str) -> Iterator[Health]:
    import ray

    if "://" in address:
        raise RequestError(
            f"--address {address}: the driver of a sweep joins the cluster itself, so run this on one of its machines "
            f"with --address auto; from elsewhere: hoir submit SWEEP.yaml --address http://HEAD:8265"
        )
    remove_leftovers(temporary_place())
    joined, head = False, _address_of_head(address)
    if head is not None:
        _refuse_silent(head, address)
    health = Health(
        remote_look(head, patience_s=lambda: UNREACHED_S if joined else JOIN_UNREACHED_S) if head else lambda: ""
    )
    join = functools.partial(
        ray.init, address, logging_level=logging.CRITICAL, log_to_driver=False, job_config=without_driver_paths()
    )
    try:
        try:
            with _told_if_killed(address):
                health.call(join)
        except RayDiedError as error:
            raise RequestError(f"--address {address}: {error}") from None
        except Exception as error:  # Ray has a class for each of the many ways
            raise RequestError(_why_not(address, error)) from None
        joined = True
        yield health
    finally:
        stop_ray(health)
        health.close()


def _refuse_silent(head: str, address: str) -> None:
    """Raises RequestError if nothing answers: Ray itself would wait for minutes, in native code."""
    end = time.monotonic() + JOIN_UNREACHED_S
    while not answers(head):
        if time.monotonic() > end:
            raise RequestError(_why_not(address, f"Ray's head at {head} does not answer"))
        time.sleep(_ASK_AGAIN_S)


@contextmanager
def _told_if_killed(address: str) -> Iterator[None]:
    """Have another process say why this one has ended, where Ray's native code ends it in the middle of joining."""
    text = (
        f"error: --address {address}: Ray ended this process while it joined the cluster, whose head or raylet has "
        f"died, or refused it; the same command resumes\n"
    )
    command = [sys.executable, "-S", "-E", "-c", _TELLER, text]
    where = stderr_descriptor()  # descriptor 2 leads nowhere meanwhile
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=where, start_new_session=True) as teller:  # noqa: S603
        try:
            yield
        finally:
            assert teller.stdin is not None
            with suppress(OSError):
                teller.stdin.write(b"joined, or said why not")
                teller.stdin.flush()
            with suppress(OSError):
                teller.stdin.close()


def _address_of_head(address: str) -> str | None:
    """`host:port` of the head of a cluster, as far as it is known before Ray has joined it."""
    from ray._private.services import canonicalize_bootstrap_address

    try:
        return canonicalize_bootstrap_address(address)
    except Exception:  # Ray itself says it better
        return None


def _why_not(address: str, error: object) -> str:
    """Ray says of a refused token that it could not connect, or that nothing is there."""
    text = " ".join(str(error).split())[:400]
    if "ersion mismatch" in text:
        return f"--address {address}: {text}"
    return (
        f"--address {address}: {text}. Either no Ray cluster answers there, or it refuses this process's token: "
        "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH, a file, must be those of its machines"
    )


def prepare_environment() -> None:
    """Set what Ray reads from the environment, some of it when it is first imported."""
    needed = {  # whoever says no
        "RAY_TRAIN_V2_ENABLED": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
        # `uv run` would have every worker start through uv, with another runtime environment.
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_ENABLE_AUTO_CONNECT": "0",  # a late call would start another Ray, where this one has been left
    }
    os.environ.update(needed)
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",
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
