"""Access to W&B with the user's key, checked in bounded time before its SDK gets to wait or to prompt."""

from __future__ import annotations

import base64
import functools
import http.client
import json
import logging
import netrc
import os
import re
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from hoir_ray.errors import RequestError
from hoir_ray.machine.addresses import check_web_address
from hoir_ray.machine.temporary import folder_until_exit
from hoir_ray.trackers.wandb.config import Config

_REMEMBERED_S = 300.0
_WHO = "query Viewer { viewer { id } }"
_TAIL = """query RunResumeStatus($project: String, $entity: String, $name: String!) {
  model(name: $project, entityName: $entity) { bucket(name: $name, missingOk: true) { historyTail } }
}"""
# `wandb agent`, `wandb launch` and scripts name one run for all that a process starts; here every trial has its own.
_LAUNCHERS = re.compile(
    r"WANDB_(_?RUN_|SWEEP_|LAUNCH|RESUME|FORK_FROM|CONFIG$|CONFIG_\d|ARTIFACTS"
    r"|(PROJECT|NAME|GROUP|JOB_TYPE|NOTES|TAGS|X_PRIMARY|X_LABEL|X_SHARED_MODE)$)"
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Access:
    """Mode in which runs are recorded, and the reason where it is not the one asked for.

    Attributes:
        has_no_key: Whether there is none to ask with.
        is_refused: Whether there is one that W&B does not take.
    """

    mode: Literal["online", "offline"]
    reason: str | None = None
    has_no_key: bool = False
    is_refused: bool = False


_lock = threading.Lock()
_found: dict[tuple[str, str | None], tuple[float, Access]] = {}


@functools.cache
def scratch() -> Path:
    """Folder of the SDK's files in this process; nothing in it is needed once a run has ended."""
    folder = folder_until_exit("wandb")
    for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        os.environ.setdefault(name, str(folder))
    return folder


@contextmanager
def _temporary_files() -> Iterator[None]:
    """Have the SDK make its temporary files in its folder: some when it is imported, the others with its service."""
    folder, before = str(scratch()), (os.environ.get("TMPDIR"), tempfile.tempdir)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    try:
        yield
    finally:
        tempfile.tempdir = before[1]
        if before[0] is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = before[0]


def import_sdk() -> Any:
    """The SDK, which reads these switches from the environment alone: no reports to its makers, nothing printed."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    if "wandb" not in sys.modules:
        with _lock, _temporary_files():
            import wandb
    import wandb

    return wandb


def set_up_sdk() -> Any:
    """The SDK's settings for this process, in which no launcher has named the run, its project or its sweep."""
    sdk = import_sdk()
    with _lock, _temporary_files():
        named = {name: os.environ.pop(name) for name in list(os.environ) if _LAUNCHERS.match(name)}
        try:
            return sdk.setup().settings
        finally:
            os.environ.update(named)


def environment_of_program() -> tuple[dict[str, str], str | None]:
    """The environment of a program that uses the SDK as this process does, and the entity that the user has set.

    Nothing in it names a run, and the key is the one that was found here.
    """
    url, entity = _server(), set_up_sdk().entity
    kept = {name: value for name, value in os.environ.items() if not _LAUNCHERS.match(name)}
    kept.pop("WANDB_SERVICE", None)  # this process's own
    switches = {"WANDB_BASE_URL": url, "WANDB_API_KEY": _api_key(url) or "", "WANDB_SILENT": "true"}
    return {"WANDB_ERROR_REPORTING": "false", **kept, **switches}, entity


def find_access(config: Config, *, timeout_s: float = 5.0) -> Access:
    """Ask W&B who we are. The answer is remembered for some minutes: in an outage, few trials wait for it."""
    if config.mode != "online" or os.environ.get("WANDB_MODE") in {"offline", "dryrun", "disabled"}:
        return Access("offline")
    url = _server()
    key = _api_key(url)
    with _lock:
        seen, access = _found.get((url, key), (0.0, Access("offline")))
        if not seen or time.monotonic() - seen > _REMEMBERED_S:
            access = _ask(url, key, timeout_s=timeout_s)
            _found[url, key] = (time.monotonic(), access)
    return access


def forget() -> None:
    """Ask anew the next time."""
    with _lock:
        _found.clear()


def check(config: Config) -> None:
    """Before a sweep: refuse to start with a key that W&B does not take, and say so where there is none.

    An outage of W&B is no mistake of the user and is reported too.

    Raises:
        RequestError: Saying what to do about the key.
    """
    access = find_access(config, timeout_s=10.0)
    if access.is_refused:
        raise RequestError(f"trackers.wandb: {access.reason}; mend that, or use mode: offline and `hoir sync` later")
    if access.reason is not None:
        _log.warning("W&B: %s. Runs are kept with the sweep, `hoir sync` sends them.", access.reason)


def ask_for_last_step(*, entity: str, project: str, run: str) -> int:
    """The last step of a run's history that W&B tells of; -1 where there is none, or no answer."""
    url = _server()
    variables = {"entity": entity, "project": project, "name": run}
    try:
        bucket = _query(url, _api_key(url) or "", _TAIL, variables, timeout_s=5.0)["model"]["bucket"]
        return int(json.loads(json.loads(bucket["historyTail"])[-1])["_step"])
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, IndexError) as error:
        _log.debug("no last step of %s: %r", run, error)
    return -1


def remember_outage(reason: str) -> None:
    """Let the next trials of this process go offline at once, after the SDK has failed where the question succeeded."""
    url = _server()
    with _lock:
        _found[url, _api_key(url)] = (time.monotonic(), Access("offline", reason))


def _ask(url: str, key: str | None, *, timeout_s: float) -> Access:
    if key is None:
        return Access("offline", f"no key for {url}; set WANDB_API_KEY or run `wandb login`", has_no_key=True)
    try:
        viewer = _query(url, key, _WHO, {}, timeout_s=timeout_s)["viewer"]
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in {401, 403}:
            return Access("offline", f"{url} refused the key ({error.code})", is_refused=True)
        return Access("offline", f"{url} answered {error.code}")
    except (OSError, http.client.HTTPException):
        return Access("offline", f"{url} cannot be reached, or did not answer within {timeout_s:g} s")
    except (ValueError, KeyError, TypeError):
        return Access("offline", f"{url} did not answer as W&B does")
    return Access("online") if viewer else Access("offline", f"{url} does not know the key", is_refused=True)


def _query(url: str, key: str, query: str, variables: dict[str, str], *, timeout_s: float) -> dict[str, Any]:
    token = base64.b64encode(f"api:{key}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {token}"}
    question = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", data=question, headers=headers)  # noqa: S310  # http(s) only
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
        return json.load(answer)["data"]


def _server() -> str:
    if named := os.environ.get("WANDB_BASE_URL"):
        check_web_address(named, source="WANDB_BASE_URL")
    return check_web_address(str(set_up_sdk().base_url), source="W&B's base_url")


def _api_key(url: str) -> str | None:
    if key := os.environ.get("WANDB_API_KEY"):
        return key
    files = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for file in files:
        with suppress(OSError, RuntimeError, netrc.NetrcParseError):  # RuntimeError: no home is known
            found = netrc.netrc(str(Path(file).expanduser())).authenticators(urlsplit(url).netloc)
            if found and found[2]:
                return found[2]
    return None
