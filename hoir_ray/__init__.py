"""Sweeps for small networks that represent pictures: high-order layers, searched with Ray and Optuna.

import hoir_ray
found = hoir_ray.run_sweep("sweeps/quickstart.yaml")  # or hoir_ray.open_sweep("quickstart")
found.trials, found.best, found.figure("front")
hoir_ray.open_storage("hoir-runs")                    # all sweeps of a folder or bucket, as a table
network = hoir_ray.load("quickstart-model")           # a torch module: positions in, colours out
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load", "open_storage", "open_sweep", "run_sweep"]
_HOMES = {"load": "network", "open_storage": "storage", "open_sweep": "results", "run_sweep": "run"}


def __getattr__(name: str) -> Any:
    """Import what `__all__` names when it is first used: the command line starts without them."""
    if name in _HOMES:
        return getattr(import_module(f"hoir_ray.notebook.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hoir_ray' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
