"""Before the first trial: can every machine that will train reach the storage and the data, and has it room to work?"""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hoir_ray.errors import HoirError, StorageError
from hoir_ray.storage import Storage, check_storage, open_storage

MIN_FREE_BYTES = 500_000_000
ANSWER_S = 180.0


def check_workers(root: Storage, *, endpoint_url: str | None) -> None:
    """Have a process on each machine of the cluster try the storage, and find there what this process wrote.

    Raises:
        StorageError: Naming the machine and what it could not do.
    """
    key = f"preflight-{uuid.uuid4().hex}"
    root.put(key, b"from the driver")
    try:
        for host, problem in _ask_machines(probe_storage, root.uri, endpoint_url, key):
            if problem is not None:
                raise StorageError(f"on {host}, where trials will run: {problem}")
    finally:
        with contextlib.suppress(StorageError):
            root.delete(key)


def find_missing(paths: Sequence[str]) -> list[str]:
    """List those of this machine's `paths` that some machine of the cluster lacks, or has with another size.

    Raises:
        StorageError: If a machine does not answer.
    """
    there = [sizes for _, sizes in _ask_machines(probe_paths, paths)]
    here = probe_paths(paths)
    return [path for path, size, *others in zip(paths, here, *there, strict=True) if any(o != size for o in others)]


def _ask_machines(question: Callable[..., Any], *arguments: Any) -> Iterator[tuple[str, Any]]:
    """Run a question on each machine that will train, all at once, and yield the answers."""
    import ray
    from ray.exceptions import GetTimeoutError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0, max_retries=2)(question)
    nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]
    answers = [
        (
            node["NodeManagerHostname"],
            remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                *arguments
            ),
        )
        for node in nodes
        if node["Alive"] and node["Resources"].get("CPU")
    ]
    for host, answer in answers:
        try:
            yield host, ray.get(answer, timeout=ANSWER_S)
        except GetTimeoutError:
            raise StorageError(f"on {host}, where trials will run: did not answer within {ANSWER_S:g} s") from None


def probe_storage(uri: str, endpoint_url: str | None, key: str) -> str | None:
    """Return the reason why this process cannot use the storage, or None."""
    try:
        storage = open_storage(uri, endpoint_url=endpoint_url)
        check_storage(storage)
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


def probe_paths(paths: Sequence[str]) -> list[int | None]:
    """The size of each file on this machine, 0 for a folder, None for what is not there."""
    return [_size(Path(path).expanduser()) for path in paths]


def _size(path: Path) -> int | None:
    try:
        return 0 if path.is_dir() else path.stat().st_size
    except OSError:
        return None
