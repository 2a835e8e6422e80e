"""A sweep from its spec to its best model: preflight, lock, resume, Ray Tune, and the files left in storage."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from hoir_ray.cluster.cluster import Cluster, connect, prepare_environment
from hoir_ray.cluster.machines import check_workers, find_missing
from hoir_ray.cluster.watch import RayDiedError
from hoir_ray.machine.interrupt import on_interrupt
from hoir_ray.machine.processes import user_and_host
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.sweep_results import SPEC, SweepResults, read_spec
from hoir_ray.results.unsaved import unsaved_folder, upload_unsaved
from hoir_ray.search.warm_start import WarmStartData, load_warm_start, save_warm_start
from hoir_ray.spec.document import dump_document
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.storage import BackgroundUploader, Lock, Storage, acquire_lock, check_storage, open_storage
from hoir_ray.sweep.driving.board import Listener
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.sweep.finish import finish
from hoir_ray.sweep.front_packs import FrontPacks
from hoir_ray.sweep.notify import notifying
from hoir_ray.sweep.planning.plan import Plan
from hoir_ray.sweep.planning.workload import workload_of
from hoir_ray.sweep.resume import promoted, refuse_other_spec, resolved, with_first_rung
from hoir_ray.sweep.stops import INTERRUPTED, leave, look_outside, stop_by_signal, stop_dead, stop_unplaced
from hoir_ray.sweep.views import Say, Views, views_of
from hoir_ray.tasks.contents import contents_of
from hoir_ray.tasks.inputs import MAX_SHIP_BYTES, Show, find_inputs, hash_inputs, input_paths, ship_inputs
from hoir_ray.tasks.localize import localize
from hoir_ray.trackers import check_tracker
from hoir_ray.trials.attempt import Attempt

MAX_QUEUED = 1_000_000  # the driver must never wait for storage; each trial has one place in the queue


_log = logging.getLogger(__name__)


Watch = Callable[[Driver, Cluster], "Listener"]


def run_sweep(
    plan: Plan,
    *,
    watch: Watch,
    address: str | None = None,
    add_trials: int = 0,
    promote: Collection[str] = (),
    force: bool = False,
    show: Show = lambda what, done, total: None,
    say: Say = lambda line: None,
    max_ship: int = MAX_SHIP_BYTES,
) -> tuple[SweepResults, Driver]:
    """Run a sweep, or resume it if its storage holds it already.

    Args:
        watch: Called once with the driver and the cluster; the listener that it returns is told of every change.
        add_trials: Trials beyond those that the sweep has had so far.
        promote: Trials that were stopped early, to be resumed from their checkpoints.
        force: Take over a lock that somebody else seems to hold.
        show: Is told how far the data is read and stored, where machines of the cluster do not have it.
        say: Told what there is to do, before it is begun, and where the sweep can be watched in W&B.
        max_ship: How many bytes of data are put into storage for that.

    Raises:
        RequestError: If the storage holds another sweep of this name, somebody runs it, or a trial cannot be promoted.
        StorageError: If storage cannot be written or read.
    """
    root = _open(plan.spec)
    storage = root.child(plan.spec.name)
    unsaved = unsaved_folder(storage, sweep=plan.spec.name)
    with (
        notifying(plan.spec.notify) as ending,
        acquire_lock(storage, owner=user_and_host(), force=force) as lock,
        on_interrupt(leave),
    ):
        spec = plan.spec.model_copy(update={"contents": contents_of(plan.spec, plan.task)})
        spec, records = _recall(spec, storage, max_epochs=plan.max_epochs, unsaved=unsaved, add_trials=add_trials)
        records, resumable = promoted(records, promote, storage=storage)
        warm_start, notes = _prepare(plan, spec, root, has_begun=bool(records), say=say)
        uploader = BackgroundUploader(storage, max_queued=MAX_QUEUED)
        driver = _driver(
            plan,
            spec,
            storage,
            uploader=uploader,
            lock=lock,
            records=records,
            warm_start=warm_start,
            resumable=resumable,
        )
        views = views_of(spec, storage, space=plan.space, pictures=plan.task.picture_names, say=say)
        try:
            if not driver.finished:
                ending.driver, ending.uri = driver, storage.uri
                views.start()
                spec = _train(
                    driver,
                    plan,
                    spec,
                    root,
                    watch=watch,
                    address=address,
                    show=show,
                    max_ship=max_ship,
                    unsaved=unsaved,
                    notes=notes,
                )
        except RayDiedError:
            if driver.exit_code != INTERRUPTED:  # else whoever ended the sweep ended Ray's processes too
                raise
        finally:
            _close(driver, storage, uploader=uploader, lock=lock, unsaved=unsaved, views=views)
    return SweepResults(storage, spec, tuple(driver.records.values())), driver


def _open(spec: SweepSpec) -> Storage:
    """Open the storage for all sweeps, once trackers and storage are known to work."""
    for name, options in spec.trackers.items():
        check_tracker(name, options)
    root = open_storage(spec.storage.uri, endpoint_url=spec.storage.endpoint_url)
    check_storage(root)
    return root


def _recall(
    spec: SweepSpec, storage: Storage, *, max_epochs: int, unsaved: Path, add_trials: int
) -> tuple[SweepSpec, list[TrialRecord]]:
    """Read what storage knows of the sweep, and add trials to its budget."""
    before = read_spec(storage)
    spec = with_first_rung(spec, before=before, max_epochs=max_epochs)
    if before is not None:
        refuse_other_spec(before, spec, where=storage.uri)
        known = {**before.contents, **spec.contents}
        spec = spec.model_copy(update={"inputs": {**before.inputs, **spec.inputs}, "contents": known})
    if unsaved.is_dir():
        saved = upload_unsaved(unsaved, storage)
        _log.warning("saved %d objects that had been kept in %s", len(saved), unsaved)
    records = {r.trial: r for r in Ledger(storage).load(to_resume=True)}
    if add_trials:
        so_far = max(sum(not r.is_replicate for r in records.values()), spec.budget.max_trials or 0)
        budget = spec.budget.model_copy(update={"max_trials": so_far + add_trials})
        spec = spec.model_copy(update={"budget": budget})
    return spec, list(records.values())


def _prepare(
    plan: Plan, spec: SweepSpec, root: Storage, *, has_begun: bool, say: Say
) -> tuple[WarmStartData, Sequence[str]]:
    """Read the data and the earlier sweep to start from, so that nothing of it fails per trial, and save the spec."""
    storage = root.child(spec.name)
    data = plan.task.data(localize(plan.config(plan.smallest.point), spec.inputs, root))
    notes = data.notes
    for note in notes:
        _log.warning("%s", note)
    if not has_begun:
        workload = workload_of(plan, num_samples=data.train.num_samples)
        say(f"{workload.steps}; in storage {workload.storage}")
    warm_start = load_warm_start(spec, plan.space, own=storage, refuse=plan.refuse, has_begun=has_begun)
    for line in warm_start.left_out:
        _log.warning("start_from: %s", line)
    if warm_start.sources:
        _log.warning("start_from: %s", warm_start.summary)
    save_warm_start(warm_start, storage)
    storage.put(SPEC, dump_document(resolved(spec, notes=notes)).encode())
    return warm_start, notes


def _driver(
    plan: Plan,
    spec: SweepSpec,
    storage: Storage,
    *,
    uploader: BackgroundUploader,
    lock: Lock,
    records: list[TrialRecord],
    warm_start: WarmStartData,
    resumable: Collection[str],
) -> Driver:
    driver = Driver(
        spec=spec,
        space=plan.space,
        ledger=Ledger(storage, uploader=uploader, is_ours=lock.is_ours),
        candidate=plan.candidate,
        records=records,
        warm_start=warm_start,
        resumable=resumable,
    )
    if len(spec.metrics) > 1:
        delete = functools.partial(_delete_pack, lock=lock, uploader=uploader)
        driver.board.listeners.append(FrontPacks(driver.board, storage, delete=delete))
    driver.checks.append(lambda: look_outside(driver, lock, uploader))
    return driver


def _train(
    driver: Driver,
    plan: Plan,
    spec: SweepSpec,
    root: Storage,
    *,
    watch: Watch,
    address: str | None,
    show: Show,
    max_ship: int,
    unsaved: Path,
    notes: Sequence[str],
) -> SweepSpec:
    """Run trials on Ray until the driver has no more or stops; returns the spec with the inputs that were shipped."""
    prepare_environment()
    from hoir_ray.sweep.tune import run_tune  # here because it loads Ray, which takes seconds

    def train(spec: SweepSpec) -> SweepSpec:
        cluster.refuse_unplaceable(spec.resources)
        driver.checks += [lambda: stop_dead(driver, cluster), lambda: stop_unplaced(driver, cluster)]
        check_workers(root, endpoint_url=spec.storage.endpoint_url)
        spec = _ship(plan, spec, root, show=show, max_bytes=max_ship, notes=notes)
        driver.board.listeners.append(watch(driver, cluster))
        run_tune(driver, cluster, attempt=lambda record: _attempt(plan, spec, root, record, unsaved=unsaved))
        return spec

    # Entered after Ray has started, which sets a handler in native code.
    with connect(address) as cluster, on_interrupt(stop_by_signal(driver)):
        return cluster.call(lambda: train(spec))


def _ship(plan: Plan, spec: SweepSpec, root: Storage, *, show: Show, max_bytes: int, notes: Sequence[str]) -> SweepSpec:
    """Copy inputs that some machine of the cluster does not have into storage, and save the spec that names them."""
    paths = [p for p in input_paths(spec, plan.task) if p not in spec.inputs]
    if not paths or not (spec.resources.autoscaled or find_missing(paths)):
        return spec
    inputs = hash_inputs(find_inputs(spec, plan.task, max_bytes=max_bytes), show=show)
    spec = spec.model_copy(update={"inputs": {**spec.inputs, **ship_inputs(inputs, root, show=show)}})
    root.child(spec.name).put(SPEC, dump_document(resolved(spec, notes=notes)).encode())
    return spec


def _close(
    driver: Driver, storage: Storage, *, uploader: BackgroundUploader, lock: Lock, unsaved: Path, views: Views
) -> None:
    """Leave what runs to another time and finish the sweep's files, unless somebody else has taken the sweep over."""
    for name in sorted(driver.running):
        driver.interrupted(name, reason=driver.stop_reason or "the driver ended")
    if lock.lost.is_set():
        uploader.abandon()
    else:
        finish(driver, storage, uploader, unsaved=unsaved)
        if not driver.exit_code and not driver.storage_problem:
            views.finish(list(driver.records.values()))
    views.close()


def _delete_pack(pack: str, *, lock: Lock, uploader: BackgroundUploader) -> None:
    if lock.is_ours():
        uploader.delete_all(pack)


def _attempt(plan: Plan, spec: SweepSpec, root: Storage, record: TrialRecord, *, unsaved: Path) -> Attempt:
    config = plan.config(record.parameters, batch_size=record.batch_size, seed=record.seed)
    return Attempt(
        sweep=spec.name,
        trial=record.trial,
        attempt=record.attempt + 1,
        task=plan.task.name,
        config=config.model_dump(mode="json"),
        inputs=spec.inputs,
        metric=spec.epoch_metric.name,
        goal=spec.epoch_metric.goal,
        measures_stored_form=spec.measures_stored_form,
        measures_end=bool(spec.named_metrics & plan.task.end_metrics),
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
