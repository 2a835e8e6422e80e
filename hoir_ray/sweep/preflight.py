"""Before the first trial: can every machine that will train reach the storage, and has it room to work?"""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import uuid
from typing import Any

from hoir_ray.errors import HoirError, StorageError
from hoir_ray.storage import Storage, check, open_storage

MIN_FREE_BYTES = 500_000_000
ANSWER_S = 180.0


def check_workers(root: Storage, *, endpoint_url: str | None) -> None:
    """Have a process on each machine of the cluster try the storage, and find there what this process wrote.

    Raises:
        StorageError: Naming the machine and what it could not do.
    """
    import ray
    from ray.exceptions import GetTimeoutError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    probe = ray.remote(num_cpus=0, max_retries=2)(probe_storage)
    key = f"preflight-{uuid.uuid4().hex}"
    root.put(key, b"from the driver")
    try:
        nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]
        answers = {
            node["NodeManagerHostname"]: probe.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(root.uri, endpoint_url, key)
            for node in nodes
            if node["Alive"] and node["Resources"].get("CPU")
        }
        for host, answer in answers.items():
            try:
                problem = ray.get(answer, timeout=ANSWER_S)
            except GetTimeoutError:
                problem = f"did not answer within {ANSWER_S:g} s"
            if problem is not None:
                raise StorageError(f"on {host}, where trials will run: {problem}")
    finally:
        with contextlib.suppress(StorageError):
            root.delete(key)


def probe_storage(uri: str, endpoint_url: str | None, key: str) -> str | None:
    """What keeps this process from working with the storage, or None."""
    try:
        storage = open_storage(uri, endpoint_url=endpoint_url)
        check(storage)
        if not storage.exists(key):
            return (
                f"{storage.describe()} is not the one that {socket.gethostname()} shares with the driver; use a folder "
                "that every machine mounts, or s3://"
            )
    except HoirError as error:
        return str(error)
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < MIN_FREE_BYTES:
        return f"{tempfile.gettempdir()} has {free / 1e9:.1f} GB free, {MIN_FREE_BYTES / 1e9:g} are needed"
    return None
