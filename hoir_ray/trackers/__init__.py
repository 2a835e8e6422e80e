"""Trackers: the contract that each keeps, and the registry, which is the listing of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from hoir_ray.config import Config, explain, nearest
from hoir_ray.errors import SpecError
from hoir_ray.machine.deferred import defer

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger
    from torch import Tensor

defer()  # before the first import of Lightning


class Tracker(Protocol):
    """Watches one trial. A tracker that fails must never change or end the training it watches."""

    @property
    def logger(self) -> Logger:
        """Lightning's own interface, which carries scalars and hyperparameters."""

    def log_images(self, images: Mapping[str, Tensor], *, step: int) -> None:
        """Show named pictures, each (H, W, 3) in [0, 1], at the given epoch."""

    def close(self) -> None:
        """Flush what is pending, in bounded time."""


def tracker_names() -> list[str]:
    """List every tracker's name, without importing any of them."""
    return sorted(m.name for m in iter_modules([str(Path(__file__).parent)]))


def tracker_config(name: str, options: Mapping[str, Any]) -> Config:
    """A tracker's options, checked.

    Raises:
        SpecError: If there is no such tracker, or it has no such option.
    """
    known = tracker_names()
    if name not in known:
        raise SpecError(f"trackers.{name}: unknown tracker.{nearest(name, known)} Known: {', '.join(known)}")
    model: type[Config] = _module(name).Config
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        found = explain(error, known=model.model_fields)
        raise SpecError("\n".join(f"trackers.{name}.{path}: {complaint}" for path, complaint in found)) from None


def check_tracker(name: str, options: Mapping[str, Any]) -> None:
    """Check that a tracker can be used as asked for, before anything is trained.

    Raises:
        SpecError: As `tracker_config`.
        RequestError: If it needs something that only the user can give, such as a key.
    """
    config, module = tracker_config(name, options), _module(name)
    if hasattr(module, "check"):
        module.check(config)


def build_trackers(
    configs: Mapping[str, Mapping[str, Any]],
    *,
    directory: Path,
    sweep: str,
    trial: str,
    run: str,
    parameters: Mapping[str, Any],
) -> list[Tracker]:
    """The trackers that watch one trial.

    Args:
        configs: Name -> options, as under `trackers:` of a sweep YAML.
        directory: The sweep's folder for what trackers write; each makes its own folder in it, one per trial.
        run: Unlike that of any other trial or training anywhere, and the same for each attempt.
        parameters: What the sweep chose for this trial, by dotted path.

    Raises:
        SpecError: As `tracker_config`.
    """
    checked = {name: tracker_config(name, options) for name, options in configs.items()}
    return [
        _module(name).build(config, directory=directory, sweep=sweep, trial=trial, run=run, parameters=parameters)
        for name, config in checked.items()
    ]


def _module(name: str) -> Any:
    return import_module(f"{__name__}.{name}")
