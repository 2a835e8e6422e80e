"""Notifications at a sweep's end: commands and addresses get its summary as JSON; none of them can hold it up."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any, Literal
from urllib.parse import urlsplit

from hoir_ray import __version__
from hoir_ray.errors import masked
from hoir_ray.machine.loopback import is_loopback
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.ranking import ranked
from hoir_ray.results.record import now
from hoir_ray.spec.fields.notify import check_encrypted, is_address, split_command, variable_of
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.sweep.stops import INTERRUPTED

TIMEOUT_S = 10.0
Event = Literal["finished", "target", "failed", "stopped"]
_log = logging.getLogger(__name__)


@dataclass
class Ending:
    """The run that is told of: no driver means that nothing was started, so there is nothing to tell."""

    driver: Driver | None = None
    uri: str = ""


@contextlib.contextmanager
def notifying(targets: Sequence[str | Sequence[str]]) -> Iterator[Ending]:
    """Tell the targets how the run ended that the block has set in what it gets, be it by an error.

    A target that fails is warned of, once; all of them together take `TIMEOUT_S` at most.
    """
    ending, began_at = Ending(), time.monotonic()
    try:
        yield ending
    except Exception as error:
        _tell(targets, ending, error=error, began_at=began_at)
        raise
    _tell(targets, ending, error=None, began_at=began_at)


def summary_of(driver: Driver, *, uri: str, error: Exception | None, seconds: float) -> dict[str, Any]:
    """Summarize a run: the event, its reason, the trials by state, and the best one. No secret is in it.

    Args:
        uri: Of the sweep in its storage.
        seconds: How long the run took.
    """
    spec, records = driver.spec, list(driver.records.values())
    leaders = ranked(records, spec=spec)
    best = leaders[0] if leaders else None
    return {
        "event": event_of(driver, error=error, has_best=best is not None),
        "reason": masked(_reason(driver, error)),
        "sweep": spec.name,
        "task": spec.task,
        "storage": masked(uri),
        "metric": spec.metric.name,
        "goal": spec.metric.goal,
        "num_trials": len(records),
        "trials": dict(sorted(Counter(r.state for r in records).items())),
        "best": {"trial": best.trial, "metrics": _finite(metrics_of(best)), "parameters": best.parameters}
        if best
        else None,
        "front": [r.trial for r in driver.board.leaders],
        "seconds": round(seconds, 1),
        "ended_at": now(),
        "version": __version__,
    }


def event_of(driver: Driver, *, error: Exception | None, has_best: bool) -> Event:
    """Name the way in which a run ended."""
    if error is None and driver.exit_code == INTERRUPTED:
        return "stopped"
    if error is not None or driver.exit_code or driver.storage_problem or not has_best:
        return "failed"
    return "target" if driver.has_reached_goal else "finished"


def notify(targets: Sequence[str | Sequence[str]], data: bytes, *, timeout_s: float = TIMEOUT_S) -> dict[str, str]:
    """Send `data` to every target at once.

    Args:
        timeout_s: For all of them together. What takes longer is given up, a command is killed.

    Returns:
        What went wrong by target, as it may be shown: of an address, no more than the server.
    """
    failures: dict[int, str | None] = dict.fromkeys(range(len(targets)), f"no answer within {timeout_s:g} s")

    def send(number: int) -> None:
        failures[number] = _send(targets[number], data, timeout_s=timeout_s)

    threads = [threading.Thread(target=send, args=(n,), name="hoir-notify", daemon=True) for n in range(len(targets))]
    for thread in threads:
        thread.start()
    end = time.monotonic() + timeout_s + 1  # the targets' own limits come first, and say more
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return {_shown(targets[n]): failure for n, failure in dict(failures).items() if failure is not None}


def _tell(targets: Sequence[str | Sequence[str]], ending: Ending, *, error: Exception | None, began_at: float) -> None:
    if ending.driver is None or not targets:
        return
    try:
        seconds = time.monotonic() - began_at
        summary = summary_of(ending.driver, uri=ending.uri, error=error, seconds=seconds)
        for target, failure in notify(targets, json.dumps(summary, allow_nan=False).encode()).items():
            _log.warning("notify: %s: %s", target, failure)
    except Exception as problem:  # the sweep is what counts
        _log.warning("notify: %s: %s", type(problem).__name__, problem)


def _reason(driver: Driver, error: Exception | None) -> str:
    return str(error or driver.storage_problem or driver.stop_reason or "all trials have ended")


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _send(target: str | Sequence[str], data: bytes, *, timeout_s: float) -> str | None:
    """Send to one target; returns what went wrong."""
    try:
        if not isinstance(target, str):
            return _run(target, data, timeout_s=timeout_s)
        if (variable := variable_of(target)) is not None:
            target = os.environ.get(variable, "").strip()
        if not target:
            return "is not set in the environment of this machine"
        if not is_address(target):
            return _run(split_command(target), data, timeout_s=timeout_s)
        check_encrypted(target)
        return _post(target, data, timeout_s=timeout_s)
    except (OSError, ValueError) as error:  # those of addresses may hold the address
        return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
    except Exception as error:
        return type(error).__name__


def _run(command: Sequence[str], data: bytes, *, timeout_s: float) -> str | None:
    """Run a command with the summary on its standard input, and kill it with its children when it takes too long."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(data)
        given.seek(0)
        process = subprocess.Popen(  # noqa: S603  # the user's own command; no shell reads it
            list(command), stdin=given, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return f"took longer than {timeout_s:g} s and was killed"
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(max(0, said.seek(0, os.SEEK_END) - 300))
        lines = said.read().decode(errors="replace").strip().splitlines()
        return None if code == 0 else masked(f"exit code {code}{f': {lines[-1]}' if lines else ''}")


def _post(url: str, data: bytes, *, timeout_s: float) -> str | None:
    """Post the summary. Redirects are not followed: they would lead to an address that nobody has named."""
    headers = {"Content-Type": "application/json", "User-Agent": f"hoir_ray/{__version__}"}
    request = urllib.request.Request(url, data=data, headers=headers, method="POST")  # noqa: S310  # checked before
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if is_loopback(urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout_s):
            return None
    except urllib.error.HTTPError as error:
        error.close()
        moved = ", and redirects are not followed" if 300 <= error.code < 400 else ""
        return f"the server answered {error.code}{moved}"
    except urllib.error.URLError as error:
        return str(error.reason.strerror or error.reason) if isinstance(error.reason, OSError) else "cannot be reached"
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


def _shown(target: str | Sequence[str]) -> str:
    """A target in a message: of an address the server alone, as its path may be a secret."""
    if not isinstance(target, str):
        return target[0]
    if is_address(target):
        parts = urlsplit(target)
        return f"{parts.scheme}://{parts.netloc}"
    return target if variable_of(target) else split_command(target)[0]
