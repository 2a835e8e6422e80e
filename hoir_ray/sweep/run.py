"""A sweep from its spec to its best model: preflight, lock, resume, Ray Tune, and what is left in storage."""

from __future__ import annotations

import getpass
import importlib.metadata
import logging
import os
import platform
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import hoir_ray
from hoir_ray.document import dump_document
from hoir_ray.errors import RequestError
from hoir_ray.ledger import Ledger, TrialRecord
from hoir_ray.registry import SPEC, OpenedSweep, read_spec
from hoir_ray.spec import Scalar, SweepSpec
from hoir_ray.storage import BackgroundUploader, Lock, Storage, acquire_lock, check, open_storage
from hoir_ray.sweep.cluster import Cluster, connect, needs
from hoir_ray.sweep.driver import Driver, Listener
from hoir_ray.sweep.inputs import MAX_SHIP_BYTES, Show, find_inputs, hash_inputs, input_paths, localize, ship_inputs
from hoir_ray.sweep.job import Job
from hoir_ray.sweep.leaving import leave
from hoir_ray.sweep.packs import FrontPacks
from hoir_ray.sweep.plan import Plan
from hoir_ray.sweep.preflight import check_workers, find_missing
from hoir_ray.sweep.warm_start import carry_over, save_carried
from hoir_ray.trackers import check_tracker
from hoir_ray.unsaved import unsaved_folder, upload_unsaved

# Parts of a spec that may differ when a sweep goes on: they change how much is done and where, not what is searched.
CHANGEABLE = frozenset(
    {"budget", "resources", "failures", "trackers", "storage", "provenance", "replicate_top", "inputs"}
)

COMMIT = "HOIR_COMMIT"  # names the commit of code that is run away from its repository
MAX_STARTING = 100  # processes that start at the same time
MAX_QUEUED = 1_000_000  # the driver must never wait for storage; each trial has one place in the queue
_log = logging.getLogger(__name__)

Watch = Callable[[Driver, Cluster], "Listener"]


def run_sweep(
    plan: Plan,
    *,
    watch: Watch,
    address: str | None = None,
    add_trials: int = 0,
    force: bool = False,
    show: Show = lambda what, done, total: None,
    max_ship: int = MAX_SHIP_BYTES,
) -> tuple[OpenedSweep, Driver]:
    """Run a sweep, or go on with it if its storage holds it already.

    Args:
        watch: Called once with the driver and the cluster; the listener that it returns is told of every change.
        add_trials: Trials beyond those that the sweep has had so far.
        force: Take over a lock that somebody else seems to hold.
        show: Is told how far the data is read and stored, where machines of the cluster do not have it.
        max_ship: How many bytes of data are put into storage for that.

    Raises:
        RequestError: If the storage holds another sweep of this name, or somebody runs it.
        StorageError: If storage cannot be written or read.
    """
    spec = plan.spec
    for name, options in spec.trackers.items():
        check_tracker(name, options)
    root = open_storage(spec.storage.uri, endpoint_url=spec.storage.endpoint_url)
    check(root)
    storage = root.child(spec.name)
    unsaved = unsaved_folder(storage, sweep=spec.name)
    with acquire_lock(storage, owner=f"{getpass.getuser()}@{socket.gethostname()}", force=force) as lock:
        spec, records = _past(spec, storage, unsaved=unsaved, add_trials=add_trials)
        config = localize(plan.config(plan.smallest.point), spec.inputs, root)
        plan.task.data(config)  # a picture that cannot be read is said now, not per trial
        carried = carry_over(spec, plan.space, own=storage)
        for line in carried.left_out:
            _log.warning("not carried over from %s: %s", spec.warm_start and spec.warm_start.source, line)
        save_carried(carried, storage)
        storage.put(SPEC, dump_document(resolved(spec)).encode())
        uploader = BackgroundUploader(storage, max_queued=MAX_QUEUED)
        driver = Driver(
            spec=spec,
            space=plan.space,
            ledger=Ledger(storage, uploader=uploader),
            refuse=plan.refuse,
            describe=lambda point: _describe(plan, point),
            max_epochs=lambda record: plan.config(record.parameters).training.max_epochs,
            records=records,
            carried=carried,
        )
        if len(spec.metrics) > 1:
            driver.listeners.append(FrontPacks(driver, storage, delete=uploader.delete_all))
        driver.checks.append(lambda: _look_outside(driver, lock, uploader))
        try:
            if not driver.finished:
                with interruptible(driver), connect(address) as cluster, interruptible(driver):
                    cluster.refuse_unplaceable(spec.resources)
                    driver.checks.append(lambda: _unplaced(driver, cluster))
                    check_workers(root, endpoint_url=spec.storage.endpoint_url)
                    paths = [p for p in input_paths(spec, plan.task) if p not in spec.inputs]
                    if paths and (spec.resources.autoscaled or find_missing(paths)):
                        inputs = hash_inputs(find_inputs(spec, plan.task, max_bytes=max_ship), show=show)
                        keys = {**spec.inputs, **ship_inputs(inputs, root, show=show)}
                        spec = spec.model_copy(update={"inputs": keys})
                        storage.put(SPEC, dump_document(resolved(spec)).encode())
                    driver.listeners.append(watch(driver, cluster))
                    _tune(driver, cluster, job=lambda record: _job(plan, spec, root, record, unsaved=unsaved))
        finally:
            for name in sorted(driver.running):
                driver.interrupted(name, reason=driver.stop_reason or "the driver ended")
            if lock.lost.is_set():
                uploader.abandon()
            else:
                leave(driver, storage, uploader, unsaved=unsaved)
    return OpenedSweep(storage, spec, tuple(driver.records.values())), driver


def _past(
    spec: SweepSpec, storage: Storage, *, unsaved: Path, add_trials: int
) -> tuple[SweepSpec, dict[str, TrialRecord]]:
    """What storage knows of the sweep by now, and the spec with the trials that are to be added."""
    before = read_spec(storage)
    if before is not None:
        refuse_other_spec(before, spec, where=storage.uri)
        spec = spec.model_copy(update={"inputs": {**before.inputs, **spec.inputs}})
    if unsaved.is_dir():
        saved = upload_unsaved(unsaved, storage)
        _log.warning("saved %d objects that had been kept in %s", len(saved), unsaved)
    records = {r.trial: r for r in Ledger(storage).load()}
    if add_trials:
        so_far = max(sum(r.replicate_of is None for r in records.values()), spec.budget.max_trials or 0)
        budget = spec.budget.model_copy(update={"max_trials": so_far + add_trials})
        spec = spec.model_copy(update={"budget": budget})
    return spec, records


def _look_outside(driver: Driver, lock: Lock, uploader: BackgroundUploader) -> str | None:
    """What the driver cannot see itself: whether the sweep is still ours, and whether the ledger is being saved."""
    if uploader.failures:
        driver.storage_failed(str(next(iter(uploader.failures.values()))))
    if lock.lost.is_set():
        driver.stop_code = 1
        return "somebody else has taken this sweep over with --force"
    return None


def _unplaced(driver: Driver, cluster: Cluster) -> str | None:
    """Where nothing trains, and nothing has found a place for long, nothing ever will."""
    limit, waiting = driver.spec.failures.placement_timeout, driver.unplaced()
    for name, waited_s in waiting.items() if len(waiting) == len(driver.running) else ():
        if limit is not None and waited_s > limit:
            driver.stop_code = 1
            return (
                f"Ray found no place for {name} within failures.placement_timeout {limit:g} s: it needs "
                f"{needs(driver.spec.resources)}; Ray has {cluster.offer()}"
            )
    return None


def refuse_other_spec(before: SweepSpec, after: SweepSpec, *, where: str) -> None:
    """Only budget, resources and the like may change under a sweep's name.

    Raises:
        RequestError: Showing each difference.
    """
    old, new = (s.model_dump(mode="json", exclude=set(CHANGEABLE)) for s in (before, after))
    differences = [f"  {key}: was {old[key]!r}, is {new[key]!r}" for key in old if old[key] != new[key]]
    differences += [
        f"  data: {path} has another content than when the sweep began"
        for path, key in before.inputs.items()
        if after.inputs.get(path, key) != key
    ]
    if differences:
        raise RequestError(
            f"name: {where} already holds a sweep '{before.name}' with another spec; give this one another name\n"
            + "\n".join(differences)
        )


def resolved(spec: SweepSpec) -> dict[str, Any]:
    """The spec with defaults filled in and the versions that ran it, ready to be written as YAML and run again."""
    data = spec.model_dump(mode="json", exclude_none=True, exclude={"parameters", "provenance", "replicate_top"})
    if not spec.inputs:
        del data["inputs"]
    data["parameters"] = {
        path: [c.model_dump(mode="json", exclude_unset=True) for c in cases]
        if len(cases) > 1
        else cases[0].model_dump(mode="json", exclude_unset=True)
        for path, cases in spec.parameters.items()
    }
    data["provenance"] = _provenance()
    return data


def _tune(driver: Driver, cluster: Cluster, *, job: Callable[[TrialRecord], Job]) -> None:
    from ray import tune

    from hoir_ray.sweep.trial import resources_of, run_trial
    from hoir_ray.sweep.tune import TuneCallback, TuneScheduler, TuneSearcher, TuneStopper

    resources = driver.spec.resources
    # Tune starts one process after the other for a searcher that is not its own; a thousand would take hours.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(min(cluster.slots(resources), MAX_STARTING))
    searcher = TuneSearcher(driver, slots=lambda: cluster.slots(resources), job=job)
    with tempfile.TemporaryDirectory(prefix="hoir-tune-", dir=os.environ.get("TMPDIR")) as scratch:
        tuner = tune.Tuner(
            tune.with_resources(run_trial, resources_of(resources)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=TuneScheduler(driver, searcher),
                num_samples=-1,
                reuse_actors=resources.workers == 1,
                trial_name_creator=lambda trial: searcher.names.get(trial.trial_id, trial.trial_id),
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=scratch,
                verbose=0,
                stop=TuneStopper(driver),
                callbacks=[TuneCallback(driver, searcher)],
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        tuner.fit()


def _job(plan: Plan, spec: SweepSpec, root: Storage, record: TrialRecord, *, unsaved: Path) -> Job:
    config = plan.config(record.parameters, batch_size=record.batch_size, seed=record.seed)
    return Job(
        sweep=spec.name,
        trial=record.trial,
        attempt=record.attempt + 1,
        task=plan.task.name,
        config=config.model_dump(mode="json"),
        inputs=spec.inputs,
        metric=spec.metric.name,
        goal=spec.metric.goal,
        storage_uri=root.uri,
        endpoint_url=spec.storage.endpoint_url,
        trackers=spec.trackers,
        parameters=record.parameters,
        workers=spec.resources.workers,
        cpus=spec.resources.cpus,
        gpus=spec.resources.gpus,
        memory_limit=spec.failures.memory_limit,
        unsaved=str(unsaved),
    )


def _describe(plan: Plan, point: Mapping[str, Scalar]) -> dict[str, int]:
    config = plan.config(point)
    return {"num_parameters": plan.task.num_parameters(config), "seed": config.training.seed}


@contextmanager
def interruptible(driver: Driver) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM stops the sweep in order; the second one at once.

    Starting Ray sets a handler of its own for SIGTERM, so this is to be entered again afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def interrupt(number: int, frame: FrameType | None) -> None:
        if driver.stop_reason is not None and driver.interrupted_by:
            raise KeyboardInterrupt
        driver.interrupted_by, driver.stop_code = signal.Signals(number).name, 130
        driver.stop(f"interrupted by {driver.interrupted_by}")

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # one set in C, which Python cannot set again
                signal.signal(number, handler)


def _provenance() -> dict[str, str]:
    versions = {"hoir-ray": hoir_ray.__version__, "python": platform.python_version()}
    for package in ("torch", "lightning", "ray", "optuna"):
        versions[package] = importlib.metadata.version(package)
    try:
        command = ["git", "-C", str(Path(hoir_ray.__file__).parent), "rev-parse", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
        found = commit.stdout.strip() if commit.returncode == 0 else ""
    except (OSError, subprocess.SubprocessError) as error:
        _log.debug("no commit: %s", error)
        found = ""
    # Code that was shipped to a cluster left its repository behind.
    if commit_of := found or os.environ.get(COMMIT, ""):
        versions["commit"] = commit_of
    return versions
