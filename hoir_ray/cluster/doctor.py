"""Checks of this machine behind `hoir doctor`, each with the way to mend what it finds."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import hoir_ray
from hoir_ray.errors import HoirError, RequestError
from hoir_ray.machine.compiler import find_compiler
from hoir_ray.storage import check_storage, open_storage

MIN_FREE_GB = 2.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


def examine(*, storage: str | None = None, endpoint_url: str | None = None) -> list[Finding]:
    """Look at everything that a sweep on this machine needs."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("hoir_ray", lambda: f"{hoir_ray.__version__} in {Path(hoir_ray.__file__).parent}"),
        ("python", _python),
        ("compiler", _compiler),
        ("torch", _torch),
        ("lightning", _lightning),
        *((name, lambda name=name: importlib.metadata.version(name)) for name in ("ray", "optuna")),
        ("cpus", lambda: str(os.cpu_count())),
        ("temporary folder", _temporary_folder),
    ]
    if storage is not None:
        checks.append((f"storage {storage}", lambda: _storage(storage, endpoint_url)))
    return list(_run(checks))


def _run(checks: list[tuple[str, Callable[[], str]]]) -> Iterator[Finding]:
    for what, look in checks:
        try:
            yield Finding(what, True, look())
        except HoirError as error:
            yield Finding(what, False, str(error))
        except Exception as error:
            yield Finding(what, False, f"{type(error).__name__}: {error}")


def _python() -> str:
    return f"{platform.python_version()} at {sys.executable}"


def _compiler() -> str:
    path = find_compiler()
    if path is None:
        raise RequestError(
            "found none of cc, gcc and clang; layers run in plain torch on the CPU, several times slower"
        )
    return path


def _torch() -> str:
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return f"{torch.__version__}, {names}"
    return f"{torch.__version__}, no CUDA device: trials run on the CPU"


def _lightning() -> str:
    try:
        import_module("lightning.pytorch")
    except RuntimeError as error:
        if "torchvision" in str(error):
            raise HoirError(
                "an installed torchvision does not fit this torch, and nothing here needs it: pip uninstall torchvision"
            ) from None
        raise
    return importlib.metadata.version("lightning")


def _temporary_folder() -> str:
    folder = Path(tempfile.gettempdir())
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < MIN_FREE_GB:
        raise HoirError(f"{folder} has {free_gb:.1f} GB free, {MIN_FREE_GB:g} are needed; set TMPDIR to a larger disk")
    return f"{folder}, {free_gb:,.0f} GB free"


def _storage(uri: str, endpoint_url: str | None) -> str:
    opened = open_storage(uri, endpoint_url=endpoint_url)
    check_storage(opened)
    return f"{opened.describe()}: write, read, conditional write, list and delete work"
