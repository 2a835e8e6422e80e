"""Survey of a cluster by a small job, before a sweep is sent there."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import re
import shlex
import socket
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hoir_ray.errors import RequestError, StorageError, WorkError
from hoir_ray.remote import probe
from hoir_ray.remote.jobs import Jobs, reached
from hoir_ray.storage import Storage

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

PROBE = "hoir-probe-"
PROBE_S = 180.0
KEPT_S = 60.0

# Finds the interpreter that runs Ray there. `python` on a job's PATH may be another one: Ray may run in an environment
# that was never activated. The raylet, two processes up, knows which.
FIND_PYTHON = r"""
raylet=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$PPID/status 2>/dev/null)
python=$(cat /proc/$raylet/cmdline 2>/dev/null | tr '\0' '\n' | sed -n 's/^--python_worker_command=\([^ ]*\) .*/\1/p')
"""


def check_cluster(jobs: Jobs, root: Storage) -> None:
    """Check that our dependencies are installed there, and that a storage folder is the same on every machine.

    Raises:
        RequestError: Naming what is missing.
        StorageError: Naming the machines that do not see the folder.
        WorkError: If the cluster does not answer the question.
    """
    marker = None
    if root.folder is not None:
        marker = f"preflight-{uuid.uuid4().hex}"
        root.put(marker, b"from the one who submits")
    try:
        packages = _dependencies()
        answer = _ask_job(
            jobs, {"packages": packages, "file": str(root.folder / marker) if root.folder and marker else None}
        )
    finally:
        if marker is not None:
            with contextlib.suppress(StorageError):
                root.delete(marker)
    missing = [name for name in packages if answer["versions"].get(name) is None]
    if missing:
        raise RequestError(
            f"on {answer['host']}, the cluster's head, these packages are missing: {', '.join(missing)}; its machines "
            "need what this one has: this package installed, or an image made with it"
        )
    if answer.get("blind"):
        raise StorageError(
            f"{root.describe()}, as this machine ({socket.gethostname()}) sees it, is not there on "
            f"{', '.join(answer['blind'])} of the cluster; use s3://bucket/prefix, or a folder that "
            "every machine mounts"
        )


def _ask_job(jobs: Jobs, question: Mapping[str, Any]) -> dict[str, Any]:
    source = Path(probe.__file__).read_text()
    arguments = shlex.join(["-c", source, json.dumps(question)])
    entrypoint = f'{FIND_PYTHON}exec "${{python:-python}}" {arguments}'
    name = f"{PROBE}{uuid.uuid4().hex[:8]}"
    client = jobs.client
    with reached(jobs.address):
        _forget_earlier(client)
        client.submit_job(entrypoint=entrypoint, submission_id=name)
        end = time.monotonic() + PROBE_S
        while not client.get_job_status(name).is_terminal() and time.monotonic() < end:
            time.sleep(0.2)
        log = client.get_job_logs(name)
        if not client.get_job_status(name).is_terminal():
            client.stop_job(name)
    answers = [line.removeprefix(probe.MARK) for line in log.splitlines() if line.startswith(probe.MARK)]
    if not answers:
        last = next((line for line in reversed(log.splitlines()) if line.strip()), "it said nothing")
        raise WorkError(f"{jobs.address}: a small job on the cluster's head did not end as it should: {last[:300]}")
    return dict(json.loads(answers[-1]))


def _forget_earlier(client: JobSubmissionClient) -> None:
    """Not at once: a job that is deleted while Ray still looks after it comes back as one that failed."""
    for job in client.list_jobs():
        name, ended_ms = job.submission_id or "", job.end_time
        if name.startswith(PROBE) and ended_ms is not None and time.time() - ended_ms / 1000 > KEPT_S:
            with contextlib.suppress(RuntimeError):  # somebody else was faster
                client.delete_job(name)


def _dependencies() -> list[str]:
    """The packages that every installation has; extras may be missing."""
    try:
        required = importlib.metadata.requires("hoir-ray") or []
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        required = ["torch", "lightning", "ray", "optuna", "pydantic", "PyYAML", "boto3"]
    return [re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in required if "extra ==" not in text]
