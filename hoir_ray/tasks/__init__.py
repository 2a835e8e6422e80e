"""Tasks, one folder each; the listing of this folder is the registry."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from hoir_ray.config import nearest
from hoir_ray.errors import SpecError
from hoir_ray.tasks.contract import Task


def task_names() -> list[str]:
    """List every task's name, without importing any of them."""
    return sorted(folder.parent.name for folder in Path(__file__).parent.glob("*/__init__.py"))


def load_task(name: str) -> Task[Any]:
    """The task of that name.

    Raises:
        SpecError: If there is none.
    """
    known = task_names()
    if name not in known:
        raise SpecError(f"task: unknown task '{name}'.{nearest(name, known)} Known: {', '.join(known)}")
    return import_module(f"{__name__}.{name}").TASK
