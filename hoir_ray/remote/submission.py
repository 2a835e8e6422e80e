"""A sweep handed to a cluster: looked at from both sides, shipped, and started there as one of Ray's jobs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hoir_ray
from hoir_ray.errors import RequestError, StorageError, WorkError
from hoir_ray.machine.addresses import s3_endpoint
from hoir_ray.machine.processes import user_and_host
from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.remote.access import check_versions
from hoir_ray.remote.jobs import (
    ENDPOINT,
    OWNER,
    SETTINGS_DIGEST,
    SPEC_DIGEST,
    STORAGE,
    SWEEP,
    Jobs,
    SweepJob,
    reached,
    submission_id,
)
from hoir_ray.remote.survey import FIND_PYTHON, check_cluster
from hoir_ray.results.sweep_results import locate_sweep, read_spec
from hoir_ray.spec.document import Document, dump_document
from hoir_ray.spec.schema import Start, SweepSpec
from hoir_ray.storage import Storage, check_storage, open_storage
from hoir_ray.sweep.planning.plan import Plan
from hoir_ray.sweep.resume import CHANGEABLE, COMMIT, refuse_other_spec, resolved
from hoir_ray.tasks.inputs import MAX_SHIP_BYTES, Show, find_inputs, hash_inputs, ship_inputs
from hoir_ray.wording import size

STOP_WAIT_S = 900  # that a driver has for its end; Ray's own 3 s are less than an epoch
COMMAND = "HOIR_COMMAND"  # what the user typed, for the messages of a driver that was started by another command

# Results that storage does not take are kept below the driver's folder, so that must outlive the job's own.
_START = f"""{FIND_PYTHON}
sweep="$PWD/sweep.yaml"
cd "$HOME"
exec "${{python:-python}}" -P -m hoir_ray sweep "$sweep" --address auto "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """Outcome of a submission.

    Attributes:
        joined: Whether the sweep was running already, so that nothing was shipped.
        other_settings: Whether it was running with other budget, resources or the like than those asked for now.
    """

    job: SweepJob
    joined: bool
    other_settings: bool = False


def submit(
    jobs: Jobs,
    plan: Plan,
    document: Document | None,
    *,
    command: str,
    say: Callable[[str], object],
    show: Show,
    add_trials: int = 0,
    force: bool = False,
    any_version: bool = False,
    max_ship: int = MAX_SHIP_BYTES,
    ship: bool = True,
) -> Submitted:
    """Start the sweep on the cluster, or find it running there.

    Args:
        command: What starts it again, for messages.
        say: Told what is being done, before what takes seconds.
        any_version: Go on although the cluster's Ray or Python is another.
        ship: Whether the files that the data names are put into storage; without it they must be there already.

    Raises:
        RequestError: If the cluster does not fit, or runs another sweep of this name.
        StorageError: If the storage cannot be used from here or is not the cluster's.
    """
    spec = for_cluster(plan.spec)
    inputs = find_inputs(spec, plan.task, document, max_bytes=max_ship) if ship else {}
    if not any_version:
        check_versions(jobs)
    hashed = hash_inputs(inputs, show=show)
    spec = spec.model_copy(update={"inputs": {**spec.inputs, **{path: each.key for path, each in hashed.items()}}})
    if (running := _running(jobs.all(), spec, address=jobs.address)) is not None:
        if add_trials or force:
            raise RequestError(f"sweep '{spec.name}' is running; first: {_stop(spec, jobs.address)}")
        return running
    root = open_storage(spec.storage.uri, endpoint_url=spec.storage.endpoint_url)
    _check_from_here(root, spec, needed=bool(hashed) or root.folder is not None, say=say)
    say("asking the cluster what it has")
    check_cluster(jobs, root)
    if hashed:
        say(f"data: {size(sum(each.input.size_bytes for each in hashed.values()))} in {root.describe()}")
        ship_inputs(hashed, root, show=show)
    arguments = [*(["--add-trials", str(add_trials)] if add_trials else []), *(["--force"] if force else [])]
    sweep = resolved(spec)
    with _staged(sweep) as folder:
        say(f"code and sweep: {size(sum(f.stat().st_size for f in folder.rglob('*') if f.is_file()))}")
        variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S), COMMAND: command}
        variables |= {COMMIT: sweep["provenance"]["commit"]} if "commit" in sweep["provenance"] else {}
        return _start(jobs, spec, folder, arguments=arguments, variables=variables)


def for_cluster(spec: SweepSpec) -> SweepSpec:
    """The spec without what holds on this machine only: relative folders, an S3 server that the environment names."""
    storage = spec.storage
    changes: dict[str, Any] = {"uri": open_storage(storage.uri, endpoint_url=storage.endpoint_url).uri}
    if storage.uri.startswith("s3://") and storage.endpoint_url is None:
        changes["endpoint_url"] = s3_endpoint()
    update: dict[str, Any] = {"storage": storage.model_copy(update=changes), "provenance": None}
    if spec.start_from is not None:
        update["start_from"] = tuple(_start_there(s, endpoint_url=changes.get("endpoint_url")) for s in spec.start_from)
    return spec.model_copy(update=update)


def _start_there(start: Start, *, endpoint_url: str | None) -> Start:
    """An entry of `start_from` as it is found from the cluster.

    Raises:
        RequestError: If it is a file on this machine.
    """
    if start.is_file:
        raise RequestError(
            f"start_from: {start.source} is a file on this machine; a submitted sweep starts from sweeps"
        )
    if not start.is_sweep:
        return start
    return start.model_copy(update={"source": locate_sweep(start.source, endpoint_url=endpoint_url).uri})


def _running(jobs: Sequence[SweepJob], spec: SweepSpec, *, address: str) -> Submitted | None:
    """The live job of this very sweep.

    Raises:
        RequestError: If the name belongs to another sweep that is running.
    """
    live = [job for job in jobs if job.sweep == spec.name and job.is_live]
    if not live:
        return None
    job = live[0]
    if job.spec_digest != _digest(spec, exclude=CHANGEABLE - {"inputs"}) or job.storage != spec.storage.uri:
        raise RequestError(
            f"name: '{spec.name}' is running on this cluster with another spec, other data or another storage (started "
            f"by {job.owner}, storage {job.storage}); give this one another name, or first: {_stop(spec, address)}"
        )
    return Submitted(job=job, joined=True, other_settings=job.settings_digest != _digest(spec, exclude=frozenset()))


def _stop(spec: SweepSpec, address: str) -> str:
    return f"hoir stop {spec.name} --address {shlex.quote(address)}"


def _check_from_here(root: Storage, spec: SweepSpec, *, needed: bool, say: Callable[[str], object]) -> None:
    """Does the storage work, and has it another sweep of this name? A bucket may be open to the cluster alone."""
    own = root.child(spec.name)
    try:
        check_storage(root)
        before = read_spec(own)
    except StorageError as error:
        if needed:
            raise
        say(f"the storage is left to the cluster's machines to try, since from here: {error}")
        return
    if before is not None:
        refuse_other_spec(before, spec, where=own.uri)


@contextlib.contextmanager
def _staged(sweep: dict[str, Any]) -> Iterator[Path]:
    """A folder with this very code and the sweep, and nothing beside them."""
    package = Path(hoir_ray.__file__).parent
    with temporary_folder("submit") as temp:
        folder = Path(temp, "sweep")
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "*.so", ".*")
        shutil.copytree(package, folder / package.name, ignore=ignored)
        (folder / "sweep.yaml").write_text(dump_document(sweep))
        (folder / "start.sh").write_text(_START)
        yield folder


def _start(jobs: Jobs, spec: SweepSpec, folder: Path, *, arguments: list[str], variables: dict[str, str]) -> Submitted:
    # Listed once more together with the next number: a concurrent submission would take the same number.
    past = [job for job in jobs.all() if job.sweep == spec.name]
    if (running := _running(past, spec, address=jobs.address)) is not None:
        return running
    name = submission_id(spec.name, max((job.number for job in past), default=0) + 1)
    metadata = {
        SWEEP: spec.name,
        STORAGE: spec.storage.uri,
        ENDPOINT: spec.storage.endpoint_url or "",
        OWNER: user_and_host(),
        SPEC_DIGEST: _digest(spec, exclude=CHANGEABLE - {"inputs"}),
        SETTINGS_DIGEST: _digest(spec, exclude=frozenset()),
    }
    try:
        with reached(jobs.address):
            jobs.client.submit_job(
                entrypoint=shlex.join(["exec", "sh", "start.sh", *arguments]),
                submission_id=name,
                runtime_env={"working_dir": str(folder), "env_vars": variables},
                metadata=metadata,
            )
    except WorkError as error:
        # Somebody was faster by a moment; or the answer was lost and not the request.
        if "already exists" in str(error) and (running := _running(jobs.all(), spec, address=jobs.address)) is not None:
            return running
        raise
    return Submitted(job=jobs.find(spec.name), joined=False)


def _digest(spec: SweepSpec, *, exclude: frozenset[str]) -> str:
    data = spec.model_dump(mode="json", exclude={*exclude, "provenance"})
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
