"""Reasons made of what Ray says about a process that ended."""

from __future__ import annotations

import pytest

from hoir_ray.trials.failure import describe_death

CONTROLLER = """\
ControllerError: Training failed due to controller error:
ray::execute.open_store() (pid=668, ip=127.0.0.1, actor_id=9f11)
  File "worker.py", line 127, in execute
    return fn(*fn_args, **fn_kwargs)
NotImplementedError: The store does not support this.
"""
DIED = "RayActorError: The actor died unexpectedly before finishing this task.\n\tclass_name: RayTrainWorker"


@pytest.mark.parametrize(
    ("text", "reason", "is_preemption"),
    [
        (CONTROLLER, "its workers could not start: NotImplementedError: The store does not support this.", False),
        (DIED, "its worker process died: killed, or crashed in native code", False),
        ("ActorDiedError: The actor is dead because its node has died.", "its machine was lost or cut off", True),
        ("", "its worker process died: killed, or crashed in native code", False),
    ],
)
def test_the_reason_says_who_ended_it(text: str, reason: str, is_preemption: bool) -> None:
    failed = describe_death(text)
    assert (failed.reason, failed.is_preemption) == (reason, is_preemption)
