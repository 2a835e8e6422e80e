"""Ray Tune's four hooks, each one call to the driver."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from ray.tune import Callback, Stopper
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from hoir_ray.ledger import TrialRecord
from hoir_ray.sweep.driver import Driver
from hoir_ray.sweep.job import Job
from hoir_ray.sweep.trial import JOB_KEY, MESSAGE

_log = logging.getLogger(__name__)


class TuneSearcher(Searcher):
    """Gives Tune the driver's next trial, as long as fewer than `slots` are under way."""

    def __init__(self, driver: Driver, *, slots: int, job: Callable[[TrialRecord], Job]) -> None:
        super().__init__(metric=MESSAGE, mode="max")
        self._driver, self._slots, self._job = driver, slots, job
        self.names: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        if len(self._driver.running) >= self._slots:
            return None
        record = self._driver.next()
        if record is None:
            return Searcher.FINISHED if self._driver.finished else None
        self.names[trial_id] = record.trial
        return {JOB_KEY: self._job(record).model_dump(mode="json")}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The driver hears of ends through the scheduler and the callback, which know why."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the record."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a sweep is resumed from its ledger")


class TuneScheduler(FIFOScheduler):
    """Hands each report to the driver, which decides whether the trial goes on."""

    def __init__(self, driver: Driver) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._driver = driver

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        message = json.loads(result[MESSAGE])
        name = message["trial"]
        if name not in self._driver.running:
            return self.CONTINUE
        if "node" in message:
            self._driver.placed(name, node=message["node"], notes=message["notes"])
        if "row" in message:
            stop = self._driver.reported(name, message["row"], curve=message.get("curve"))
            return self.STOP if stop else self.CONTINUE
        if "finished" in message:
            self._driver.succeeded(name, reason=message["finished"], model=message["model"])
        elif "failed" in message:
            self._driver.failed(
                name, reason=message["failed"], error=message["error"], state=message["state"], retry=message["retry"]
            )
        return self.CONTINUE


class TuneCallback(Callback):
    """Starts, and the deaths that a trial could not report itself."""

    def __init__(self, driver: Driver, searcher: TuneSearcher) -> None:
        self._driver, self._searcher = driver, searcher

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._driver.check_time()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._driver.started(self._searcher.names[trial.trial_id])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = self._searcher.names[trial.trial_id]
        if name not in self._driver.running:
            return
        try:
            error = trial.get_error()
        except Exception as problem:
            error = problem
        text = f"{type(error).__name__}: {error}"
        lost_node = "NodeDied" in text or "node has died" in text.lower() or "ray node" in text.lower()
        reason = "its machine was lost" if lost_node else "its worker process died"
        detail = next((line.strip() for line in text.splitlines() if line.strip()), "")
        self._driver.failed(
            name, reason=f"{reason} ({detail[:200]})", error=text[-4000:], retry=True, charge=not lost_node
        )

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = self._searcher.names[trial.trial_id]
        if name not in self._driver.running:
            return
        if self._driver.stop_reason is not None:
            self._driver.interrupted(name, reason=self._driver.stop_reason)
        else:
            self._driver.failed(name, reason="ended without a word", retry=True)


class TuneStopper(Stopper):
    """Ends everything once the driver says so."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._driver.stop_reason is not None
