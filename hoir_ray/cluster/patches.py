"""Changes to Ray's private functions, for what it has no settings for; a version without one of them does without."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def patched(module: str, name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """Replace `module.name` by `change(original)` while the block runs, where this version of Ray has it.

    None of what is changed so is needed: without it a start takes longer or Ray says more.
    """
    try:
        owner = import_module(module)
        original = getattr(owner, name)
    except (ImportError, AttributeError):
        yield
        return
    setattr(owner, name, change(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextmanager
def few_processes() -> Iterator[None]:
    """Ray starts without what serves a dashboard, an autoscaler and logs on the driver's terminal.

    Two processes are left out and two are as in an installation without `ray[default]`. There are no settings for it,
    and together they take the processor as long as a trial's own process does.
    """
    no_dashboard = ImportError("there is no dashboard")
    with ExitStack() as stack:
        stack.enter_context(
            patched(
                "ray._private.parameter",
                "RayParams",
                lambda original: functools.partial(original, include_log_monitor=False, no_monitor=True),
            )
        )
        stack.enter_context(
            patched("ray._private.utils", "get_dashboard_dependency_error", lambda original: lambda: no_dashboard)
        )
        yield


@contextmanager
def separate_process_groups() -> Iterator[None]:
    """Ray's processes start in separate process groups: Ctrl-C, and a signal to the driver's group, is the driver's."""
    with patched("ray._private.services", "ConsolePopen", lambda popen: functools.partial(popen, process_group=0)):
        yield


@contextmanager
def no_callback_statistics() -> Iterator[None]:
    """Tune does not count callbacks for usage statistics, which are off, and for which it imports W&B and MLflow."""
    with patched("ray.air._internal.usage", "tag_callbacks", lambda original: lambda callbacks: False):
        yield


@contextmanager
def quiet_raylets() -> Iterator[None]:
    """Ray does not print what raylets notice; no setting turns that off."""
    with patched("ray._private.worker", "print_to_stdstream", lambda original: lambda *_, **__: None):
        yield
