"""The message about a failed attempt: whose fault it was, and whether another attempt may fare better."""

from __future__ import annotations

import re
import traceback

from hoir_ray.errors import DivergedError, HoirError, StorageError, masked
from hoir_ray.trials.attempt import Attempt
from hoir_ray.trials.memory_limit import is_out_of_memory
from hoir_ray.trials.messages import Failed, StorageFailed

# A process that dies by itself is reported by its machine as dead; without the machine it is merely unavailable.
LOST_MACHINE = ("is unavailable", "node has died", "nodediederror", "node died", "node was terminated")
RAYS_OWN = ("Ray", "Actor", "Worker", "Controller", "Training", "Task", "Node", "Object", "Owner", "System")
_EXCEPTION = re.compile(r"^[ \t]*(?:\w+\.)*((?!\d)\w*(?:Error|Exception)): *(\S.*)$", re.MULTILINE)
LOST_TOUCH = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "socket timeout")


def describe(error: Exception, attempt: Attempt) -> Failed | StorageFailed:
    """The message to the driver about an error inside a trial."""
    if isinstance(error, StorageError):
        return StorageFailed(reason=str(error))
    if isinstance(error, HoirError):
        again = not isinstance(error, DivergedError) and error.exit_code != 2
        return Failed(reason=str(error), retry=again)
    first_line = masked(str(error)).splitlines()[0] if str(error) else "no message"
    trace = masked(traceback.format_exc(limit=-12))
    if lost_touch(error):
        reason = f"its workers lost touch with each other ({first_line[:200]})"
        return Failed(reason=reason, error=trace, is_preemption=True)
    batch_size = attempt.config["training"]["batch_size"]
    if is_out_of_memory(error):
        limit = f" of failures.memory_limit {attempt.memory_limit / 2**20:,.0f} MiB" if attempt.memory_limit else ""
        reason = f"out of memory{limit} with batch size {batch_size} ({first_line[:200]})"
        return Failed(reason=reason, error=trace, state="OOM", batch_size=batch_size)
    return Failed(reason=f"{type(error).__name__}: {first_line}", error=trace)


def describe_death(text: str) -> Failed:
    """The message about a process that could not say itself why it ended, from what Ray says of it."""
    if any(sign in text.lower() for sign in LOST_MACHINE):
        return Failed(reason="its machine was lost or cut off", error=masked(text)[-4000:], is_preemption=True)
    told = [f"{kind}: {what}" for kind, what in _EXCEPTION.findall(masked(text)) if not kind.startswith(RAYS_OWN)]
    if told:  # it could: Ray wraps what is raised before a trial's own code runs
        return Failed(reason=f"its workers could not start: {told[-1][:300]}", error=masked(text)[-4000:])
    return Failed(reason="its worker process died: killed, or crashed in native code", error=masked(text)[-4000:])


def lost_touch(error: BaseException) -> bool:
    """Return whether an error says that a worker lost its connection to another, which may have died of anything."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in LOST_TOUCH)
