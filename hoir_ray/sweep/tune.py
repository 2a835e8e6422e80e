"""Ray Tune around the driver: its four hooks, each one call to the driver, and the run itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_never

import ray
from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from hoir_ray.cluster.cluster import Cluster
from hoir_ray.cluster.patches import no_callback_statistics
from hoir_ray.cluster.placement import release_orphans
from hoir_ray.cluster.preemption import LOOK_EVERY_S
from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.results.record import TrialRecord
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.trials.attempt import Attempt
from hoir_ray.trials.failure import describe_death
from hoir_ray.trials.messages import (
    Arrived,
    EpochEnded,
    Failed,
    Finished,
    Message,
    Placed,
    Preempted,
    StorageFailed,
    parse_message,
)
from hoir_ray.trials.trainable import JOB_KEY, MESSAGE, resources_of, run_trial

MAX_STARTING = 100  # processes that start at the same time


class _Unsaved:
    """Ray saves its hooks with its state. What a sweep is, is in the ledger, and Ray's state is never read again."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class TuneSearcher(_Unsaved, Searcher):
    """Gives Tune the driver's next trial, as long as fewer than `slots()` are under way.

    Each attempt is a separate trial for Tune, so that messages of a killed attempt are told from those of the
    next one.

    Attributes:
        names: Tune's trial id -> our trial.
    """

    def __init__(self, driver: Driver, *, slots: Callable[[], int], attempt: Callable[[TrialRecord], Attempt]) -> None:
        super().__init__(metric=MESSAGE, mode="max")
        self._driver, self._slots, self._attempt_of = driver, slots, attempt
        self._attempts: dict[str, str] = {}
        self.names: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        if len(self._driver.running) >= self._slots():
            return None
        record = self._driver.next()
        if record is None:
            self._driver.check()  # while nothing runs, Tune asks here for minutes and takes no step
            return Searcher.FINISHED if self._driver.finished else None
        self.names[trial_id] = record.trial
        self._attempts[record.trial] = trial_id
        return {JOB_KEY: self._attempt_of(record).model_dump(mode="json")}

    def running(self, trial_id: str) -> str | None:
        """Our trial, if it is running and this is its present attempt."""
        name = self.names.get(trial_id)
        return name if name in self._driver.running and self._attempts[name] == trial_id else None

    def attempt(self, name: str) -> str:
        """Tune's id of the trial's present attempt."""
        return self._attempts[name]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The driver hears of ends through the scheduler and the callback, which know why."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the ledger is the record."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a sweep is resumed from its ledger")


class TuneScheduler(_Unsaved, FIFOScheduler):
    """Hands each message to the driver, which decides whether the trial continues."""

    def __init__(self, driver: Driver, searcher: TuneSearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._driver, self._searcher = driver, searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        name = self._searcher.running(trial.trial_id)
        if name is None:
            return self.STOP
        stops = self._handle(name, parse_message(result[MESSAGE]))
        return self.STOP if stops else self.CONTINUE

    def _handle(self, name: str, message: Message) -> bool:
        """Pass the message to the driver; returns whether the trial is to be stopped."""
        driver = self._driver
        match message:
            case Arrived():
                driver.arrived(name)
            case Placed():
                driver.placed(name, node=message.node, notes=message.notes, curve=message.curve)
            case EpochEnded():
                return driver.reported(name, message.row) is not None
            case Finished():
                driver.succeeded(name, reason=message.reason, model=message.model, stored=message.stored)
                if message.unsaved is not None:
                    driver.storage_failed(message.unsaved)
            case StorageFailed():
                driver.storage_failed(message.reason)
                driver.interrupted(name, reason=message.reason)
            case Preempted():
                driver.preempted(name, reason=message.reason)
            case Failed():
                driver.failed(name, message)
            case _:
                assert_never(message)
        return False


class TuneCallback(_Unsaved, Callback):
    """Starts, the deaths that a trial could not report itself, and the end of processes that hang."""

    def __init__(self, driver: Driver, searcher: TuneSearcher) -> None:
        self._driver, self._searcher = driver, searcher
        self._looked_at = 0.0

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._driver.check()
        if self._driver.spec.resources.workers > 1 and time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            release_orphans()
            self._looked_at = time.monotonic()
        overdue = {self._searcher.attempt(name) for name in self._driver.overdue()}
        if not overdue:
            return
        for trial in trials:
            if trial.trial_id in overdue and trial.temporary_state.ray_actor is not None:
                # From outside: a process that hangs in native code, or is stopped, hears nothing.
                ray.kill(trial.temporary_state.ray_actor)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if (name := self._searcher.running(trial.trial_id)) is not None:
            self._driver.started(name)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if (name := self._searcher.running(trial.trial_id)) is None:
            return
        self._driver.failed(name, describe_death(_error_of(trial)))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if (name := self._searcher.running(trial.trial_id)) is None:
            return
        if self._driver.stop_reason is not None:
            self._driver.interrupted(name, reason=self._driver.stop_reason)
        else:
            self._driver.failed(name, Failed(reason="ended without a word"))


def _error_of(trial: Any) -> str:
    """Read what Tune wrote about the failure beside the trial, which is all that a callback gets."""
    try:
        return Path(trial.error_file).read_text()
    except (OSError, TypeError) as error:
        return f"no record of the error: {error}"


class TuneStopper(_Unsaved, Stopper):
    """Ends everything once the driver says so."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._driver.stop_reason is not None


def run_tune(driver: Driver, cluster: Cluster, *, attempt: Callable[[TrialRecord], Attempt]) -> None:
    """Run Tune until the driver has no more trials, or stops.

    Args:
        attempt: Turns a record into the next attempt at it.
    """
    resources = driver.spec.resources
    # Tune starts one process after the other for a searcher that is not its own; a thousand would take hours.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(min(cluster.slots(resources), MAX_STARTING))
    searcher = TuneSearcher(driver, slots=lambda: cluster.slots(resources), attempt=attempt)
    with temporary_folder("tune") as scratch:
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
                storage_path=str(scratch),
                verbose=0,
                stop=TuneStopper(driver),
                callbacks=[TuneCallback(driver, searcher)],
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        with no_callback_statistics():
            tuner.fit()
