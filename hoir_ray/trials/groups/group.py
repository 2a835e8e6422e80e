"""A trial of several workers: Ray Train's worker group, and the messages between its workers and the trial."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.trials.attempt import Attempt
from hoir_ray.trials.failure import describe, describe_death, lost_touch
from hoir_ray.trials.groups.mailbox import Mailbox
from hoir_ray.trials.groups.process_group import NodeTorchConfig
from hoir_ray.trials.messages import Arrived, Failed, Message, Placed, StorageFailed, parse_message

POLL_S = 1.0
STOP_S = 90.0  # for workers to come to the end of an epoch and of their uploads, after the trial was told to stop
ECHO_S = 8.0  # Ray Train looks every two seconds whether its workers live


class GroupTrainer(TorchTrainer):
    """Does without two processes that Ray Train starts beside every group.

    One serves Ray Data, which nothing here uses. The other watches over the placement group; it needs a dashboard, and
    without one it stays for ever. `placement.release_orphans` does its work.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()  # type: ignore[misc]
        return [c for c in callbacks if type(c).__name__ not in ("DatasetsCallback", "PlacementGroupCleanerCallback")]


def train_group(attempt: Attempt, report: Callable[[Message], str | None]) -> None:
    """Train one network with `attempt.workers` workers; returns or raises when none of them is left.

    Args:
        report: As for `train_worker`, but told of the machines first; when it raises SystemExit, the workers end with
            their epoch.
    """
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # `report` tells of it, without a process more
    mailbox: Any = ray.remote(num_cpus=0)(Mailbox).remote()
    with temporary_folder("group") as scratch:
        trainer = GroupTrainer(
            lambda: work(attempt, mailbox),
            torch_config=NodeTorchConfig(),
            scaling_config=ScalingConfig(
                num_workers=attempt.workers,
                use_gpu=attempt.gpus > 0,
                resources_per_worker={"CPU": attempt.cpus, **({"GPU": attempt.gpus} if attempt.gpus else {})},
            ),
            run_config=RunConfig(name="group", storage_path=str(scratch), failure_config=FailureConfig(max_failures=0)),
        )
        fit = _Fit(trainer)
        try:
            _relay(attempt, mailbox, fit, report)
        finally:
            mailbox.close.remote()
            fit.thread.join(STOP_S)
            ray.kill(mailbox)


def _relay(attempt: Attempt, mailbox: Any, fit: _Fit, report: Callable[[Message], str | None]) -> None:
    """Pass on the workers' messages until they have ended; a failure comes last, when it is known whose it was."""
    arrived: list[tuple[str, str]] = []
    failure: Failed | StorageFailed | None = None
    while True:
        text: str | None = ray.get(mailbox.take.remote(POLL_S))
        reason = None
        if text is None:
            if not fit.thread.is_alive():
                break
            continue
        match parse_message(text):
            case Arrived() as message:
                arrived += message.workers
                if len(arrived) == attempt.workers:
                    report(Arrived(workers=tuple(arrived)))
            case Failed() | StorageFailed() as message:
                failure = failure or message
            case Placed() as message:
                reason = report(message.model_copy(update={"node": "; ".join(sorted(p for _, p in arrived))}))
            case message:
                reason = report(message)
        mailbox.answer.remote(reason)
    if failure is None and fit.error is not None:
        causes = list(getattr(fit.error, "worker_failures", {}).values()) or [fit.error]
        failure = describe_death("\n".join(f"{type(c).__name__}: {c}" for c in causes))
    if failure is not None:
        report(failure)


def work(attempt: Attempt, mailbox: Any) -> None:
    """Run one of Ray Train's workers; only they load what training needs."""
    from ray.train.collective import broadcast_from_rank_zero
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    from hoir_ray.training.loop import Distributed
    from hoir_ray.trials.worker import Worker, train_worker

    context = ray.train.get_context()

    def send(message: Message) -> str | None:
        go_on, reason = ray.get(mailbox.deliver.remote(message.to_json()))
        if not go_on:
            raise SystemExit
        return reason

    process = f"{socket.gethostname()}, process {os.getpid()}"
    worker = Worker(
        rank=context.get_world_rank(),
        num_workers=attempt.workers,
        share=broadcast_from_rank_zero,
        distributed=Distributed(
            strategy=RayDDPStrategy(),  # type: ignore[no-untyped-call]
            plugins=[RayLightningEnvironment()],  # type: ignore[no-untyped-call]
            accelerator="gpu" if attempt.gpus else "cpu",
        ),
    )
    try:
        send(Arrived(workers=((ray.get_runtime_context().get_node_id(), process),)))
        train_worker(attempt, send, worker=worker)
    except SystemExit:
        return  # in order, so that Ray Train gives back what it had reserved
    except Exception as error:
        if lost_touch(error):
            time.sleep(ECHO_S)  # of another worker's end; by then Ray Train has heard of it, and this process is gone
        send(describe(error, attempt))
        raise


class _Fit:
    """`trainer.fit()` in a separate thread, while the trial's thread waits for messages."""

    def __init__(self, trainer: TorchTrainer) -> None:
        self.error: BaseException | None = None
        self._trainer = trainer
        self.thread = threading.Thread(target=self._run, name="hoir-group", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._trainer.fit()
        except Exception as error:  # told by the trial's thread
            self.error = error
