"""A trial as Ray Tune runs it: Ray Train inside a warm process, or spread over a group of workers."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Any

from hoir_ray.spec.schema import Resources
from hoir_ray.trials.attempt import Attempt
from hoir_ray.trials.messages import Arrived, Message, Preempted

if TYPE_CHECKING:
    from ray.tune import PlacementGroupFactory

JOB_KEY = "attempt"
MESSAGE = "message"  # one JSON text per report, so that nothing of ours mixes with Tune's own keys


class PreemptedError(Exception):
    """Ends a process whose trial resumes elsewhere, so that no other trial is put into it."""


class Trial:
    """Mixin of Tune's trainable: SIGTERM lets a trial write its state before its process ends."""

    def setup(self, config: dict[str, Any]) -> None:
        # Handlers can only be set in the main thread, and the trial runs in another.
        before = signal.getsignal(signal.SIGTERM)

        def leave(number: int, frame: Any) -> None:
            from hoir_ray.cluster.preemption import preemption

            if preemption.told or not preemption.watched:
                signal.signal(signal.SIGTERM, before)
                signal.raise_signal(signal.SIGTERM)
            preemption.told = "its process got SIGTERM"

        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, leave)
        super().setup(config)  # type: ignore[misc]


def resources_of(resources: Resources) -> PlacementGroupFactory:
    """Resources that Tune reserves for a trial itself; a group's workers are placed by Ray Train, beside it.

    The process that only speaks for a group takes next to nothing, so that the workers may have every CPU. Tune refuses
    a trial without any resource: one byte of memory is what every node has.
    """
    from ray.tune import PlacementGroupFactory

    if resources.workers > 1:
        return PlacementGroupFactory([{"memory": 1}])
    return PlacementGroupFactory([{"CPU": resources.cpus, "GPU": resources.gpus}])


def run_trial(config: dict[str, Any]) -> None:
    """Tune's function trainable. What goes wrong inside is reported, so that the process stays warm for the next."""
    import ray
    from ray import tune

    from hoir_ray.cluster.preemption import preemption
    from hoir_ray.trials.failure import describe

    attempt = Attempt.model_validate(config[JOB_KEY])
    nodes = {ray.get_runtime_context().get_node_id()}
    preempted = False

    def report(message: Message) -> str | None:
        nonlocal preempted
        preempted = preempted or isinstance(message, Preempted)
        if isinstance(message, Arrived):
            nodes.update(node for node, _ in message.workers)
        tune.report({MESSAGE: message.to_json()})
        return preemption.reason(nodes)

    with preemption.watching():
        try:
            _fit(attempt, report=report)
        except Exception as error:
            report(describe(error, attempt))
    if preempted:
        raise PreemptedError


run_trial.__mixins__ = (Trial,)  # type: ignore[attr-defined]


def _fit(attempt: Attempt, *, report: Any) -> None:
    if attempt.workers > 1:
        from hoir_ray.trials.groups.group import train_group

        train_group(attempt, report)
        return
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    from hoir_ray.trials.worker import train_worker

    TorchTrainer(
        lambda: train_worker(attempt, report),
        # Zero workers is Ray Train's local mode: the loop runs in this warm process, a tenth of a second to start.
        scaling_config=ScalingConfig(num_workers=0),
    ).fit()
