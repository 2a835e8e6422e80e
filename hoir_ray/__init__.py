"""Sweeps for small networks that represent pictures: high-order layers, searched with Ray and Optuna.

import hoir_ray
found = hoir_ray.sweep("sweeps/quickstart.yaml")      # or hoir_ray.open_sweep("quickstart")
found.trials, found.best, found.figure("front")
network = hoir_ray.load("quickstart-model")           # a torch module: positions in, colours out
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load", "open_sweep", "sweep"]


def __getattr__(name: str) -> Any:
    """`load`, `open_sweep` and `sweep` are imported when they are first used: the command line starts without them."""
    if name == "sweep":
        return import_module("hoir_ray.sweep")
    if name in __all__:
        return getattr(import_module("hoir_ray.notebook"), name)
    raise AttributeError(f"module 'hoir_ray' has no attribute '{name}'")
