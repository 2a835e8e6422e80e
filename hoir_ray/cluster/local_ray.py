"""A private Ray on localhost: on loopback, behind its own token, in a private folder, ended with its sweep."""

from __future__ import annotations

import functools
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hoir_ray.cluster import reaper
from hoir_ray.errors import WorkError

_MAX_FOLDER = 40  # Ray's socket names add 66 characters, and the system takes 107


@contextmanager
def local_ray() -> Iterator[None]:
    """Ray for the time of the block. Its processes and files end with this process, even if it is killed."""
    home = Path(tempfile.mkdtemp(prefix="hoir-ray-", dir=_temporary_folder()))  # mode 0700: Ray opens its own to all
    command = [sys.executable, "-S", "-E", reaper.__file__, str(home)]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603
    try:
        (home / "work").mkdir()
        with _environment(_settings(home)):
            try:
                _start(home / "ray")
                yield
            finally:
                _stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)
        guard.communicate()


def _start(folder: Path) -> None:
    import ray
    from ray._private import ray_constants
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    # Both are read from the environment when ray is first imported, which may have been before.
    ray_constants.ENABLE_RAY_CLUSTER = False
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        with few_processes():
            ray.init(
                address="local",
                include_dashboard=False,
                logging_level=logging.CRITICAL,
                log_to_driver=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(folder),
                object_store_memory=256 * 2**20,
            )
    except Exception as error:  # Ray has no specific class for it
        text = " ".join(str(error).split())
        raise WorkError(f"Ray did not start on this machine, which may be overloaded or full: {text[:200]}") from None


@contextmanager
def few_processes() -> Iterator[None]:
    """Ray starts without what serves a dashboard, an autoscaler and logs on the driver's terminal.

    Two processes are left out and two are as in an installation without `ray[default]`. There are no settings for it,
    and together they take the processor as long as a trial's own process does.
    """
    from ray._private import parameter, utils

    params, error = parameter.RayParams, utils.get_dashboard_dependency_error
    parameter.RayParams = functools.partial(params, include_log_monitor=False, no_monitor=True)  # type: ignore[misc, assignment, arg-type]
    utils.get_dashboard_dependency_error = lambda: ImportError("there is no dashboard")
    try:
        yield
    finally:
        parameter.RayParams, utils.get_dashboard_dependency_error = params, error  # type: ignore[misc]


def _stop() -> None:
    import ray

    ray.shutdown()


def _settings(home: Path) -> dict[str, str | None]:
    token = home / "token"
    descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return {
        "RAY_ADDRESS": None,
        # Ray's word for "this machine only"; `_node_ip_address="127.0.0.1"` alone is turned into the outer address.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": None,
        "RAY_AUTH_TOKEN_PATH": str(token),
        # Ray's memory monitor ends a whole sweep for one trial's appetite; see `failures.memory_limit`.
        "RAY_memory_monitor_refresh_ms": "0",
        # Where everything is one machine, a head that does not answer has died; the default waits for a minute.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
        "TMPDIR": str(home / "work"),
        "WANDB_SERVICE": None,  # or the trials' processes would share the driver's, which then has their files open
    }


@contextmanager
def _environment(settings: Mapping[str, str | None]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    _set(settings)
    try:
        yield
    finally:
        _set(before)


def _set(settings: Mapping[str, str | None]) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _temporary_folder() -> Path:
    folder = Path(tempfile.gettempdir())
    return folder if len(str(folder)) + 22 <= _MAX_FOLDER else Path("/tmp")  # noqa: S108
