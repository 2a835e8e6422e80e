"""A private Ray on localhost: on loopback, behind its own token, in a private folder, ended with its sweep."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hoir_ray.cluster import reaper
from hoir_ray.cluster.leftovers import remove_leftovers
from hoir_ray.cluster.patches import few_processes, separate_process_groups
from hoir_ray.cluster.paths import without_current_folder, without_driver_paths
from hoir_ray.cluster.watch import Health, local_look
from hoir_ray.errors import RequestError, WorkError
from hoir_ray.machine.interrupt import NATIVE_THREAD
from hoir_ray.machine.temporary import RAY, temporary_folder, temporary_place
from hoir_ray.wording import size

_OURS = frozenset(
    {"RAY_TRAIN_V2_ENABLED", "RAY_AIR_NEW_OUTPUT", "RAY_ENABLE_UV_RUN_RUNTIME_ENV", "RAY_USAGE_STATS_ENABLED"}
    | {"RAY_DEDUP_LOGS", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"}
)
_MIN_FREE_BYTES, _MAX_LOAD = 200_000_000, 8  # load for each CPU
_STOP_DEAD_S = 10.0
_MAX_FOLDER = 40  # Ray's socket names add 66 characters, and the system takes 107


@contextmanager
def local_ray() -> Iterator[Health]:
    """Ray for the time of the block. Its processes and files end with this process, even if it is killed."""
    refuse_spaces()
    place = temporary_place()
    remove_leftovers(place)
    # The folder is open to this user alone, Ray opens its own to all.
    with temporary_folder(RAY, within=place) as home, _short_name(home) as short:
        links = [] if short == home else [str(short.parent)]
        command = [sys.executable, "-S", "-E", reaper.__file__, str(home), *links]
        guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603
        try:
            (home / "work").mkdir()
            with _environment(_settings(home)):
                health = Health(local_look(_processes))
                try:
                    health.call(lambda: _start(short / "ray"))
                    yield health
                finally:
                    stop_ray(health)
                    health.close()
        finally:
            shutil.rmtree(home, ignore_errors=True)
            guard.communicate()


def _start(folder: Path) -> None:
    import ray
    from ray._private import ray_constants
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    # Both are read from the environment when ray is first imported, which may have been before.
    ray_constants.ENABLE_RAY_CLUSTER = False
    ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        with separate_process_groups(), few_processes():
            ray.init(
                address="local",
                include_dashboard=False,
                logging_level=logging.CRITICAL,
                log_to_driver=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(folder),
                object_store_memory=256 * 2**20,
                job_config=without_driver_paths(),
            )
    except Exception as error:  # Ray has no specific class for it
        text = " ".join(str(error).split())
        raise WorkError(f"Ray did not start on this machine{_strain(folder)}: {text[:200]}") from None


def _strain(folder: Path) -> str:
    """Name the resource that the machine lacks, if it lacks one."""
    load, num_cpus = os.getloadavg()[0], os.cpu_count() or 1
    free = shutil.disk_usage(folder.parent).free
    if free < _MIN_FREE_BYTES:
        return f", whose {folder.parent.parent} is full ({size(free)} free; TMPDIR names another place)"
    return f", which is overloaded (load {load:.0f} on {num_cpus} CPUs)" if load > _MAX_LOAD * num_cpus else ""


def refuse_spaces() -> None:
    """Refuse an installation that Ray cannot start: it splits its commands at spaces, and then waits for ever.

    Raises:
        RequestError: Naming the path.
    """
    import ray

    for path in (sys.executable, ray.__file__):
        if any(c.isspace() for c in path):
            raise RequestError(f"{path}: Ray cannot start from a path with a space; make the environment elsewhere")


def _processes() -> dict[str, list[Any]]:
    import ray

    node: Any = ray._private.worker._global_node
    return dict(node.all_processes) if node is not None else {}


def stop_ray(health: Health) -> None:
    """End Ray, and wait for it no longer than it takes where something of it has died."""
    import ray

    thread = threading.Thread(target=ray.shutdown, name=NATIVE_THREAD, daemon=True)
    if not health.death:
        ray.shutdown()
        return
    thread.start()
    thread.join(_STOP_DEAD_S)
    if thread.is_alive():  # nor wait for it again at the end of the process
        atexit.unregister(ray._private.worker.shutdown)


def _settings(home: Path) -> dict[str, str | None]:
    token = home / "token"
    descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    foreign = dict.fromkeys(name for name in os.environ if name.startswith("RAY_") and name not in _OURS)
    return {
        **foreign,  # settings for some other Ray, such as hooks; this one has no use for them
        "PYTHONPATH": without_current_folder(os.environ.get("PYTHONPATH")),
        "RAY_ADDRESS": None,
        # Ray's word for "this machine only"; `_node_ip_address="127.0.0.1"` alone is turned into the outer address.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": None,
        "RAY_AUTH_TOKEN_PATH": str(token),
        # Ray's memory monitor ends a whole sweep for one trial's appetite; see `failures.memory_limit`.
        "RAY_memory_monitor_refresh_ms": "0",
        # After which Ray ends this very process in native code; `Health` ends the sweep in order long before.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "300",
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


@contextmanager
def _short_name(home: Path) -> Iterator[Path]:
    """A path of the folder that Ray can use, of which it makes names of sockets and splits its commands at spaces.

    Raises:
        RequestError: If TMPDIR names a place whose path is too long, and there is no other to name it in.
    """
    if _fits(home):
        yield home
        return
    places = [Path(p) for p in ("/tmp", os.environ.get("XDG_RUNTIME_DIR"), "/var/tmp", "/dev/shm") if p]  # noqa: S108
    for place in (p for p in places if os.access(p, os.W_OK | os.X_OK)):
        with temporary_folder("link", within=place) as folder:
            (folder / "h").symlink_to(home)
            if _fits(folder / "h"):
                yield folder / "h"
                return
    raise RequestError(f"TMPDIR={home.parent}: is too long a path for Ray's sockets; name one of 18 characters or less")


def _fits(home: Path) -> bool:
    return len(str(home / "ray")) <= _MAX_FOLDER and not any(c.isspace() for c in str(home))
