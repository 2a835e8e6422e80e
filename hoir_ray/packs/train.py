"""One network without a sweep: the same config, loop and model pack, and no Ray."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hoir_ray import wording
from hoir_ray.config import flatten
from hoir_ray.errors import StoppedError
from hoir_ray.machine.files import try_destination
from hoir_ray.machine.interrupt import SIGNALS, on_interrupt
from hoir_ray.packs.pack import write_pack
from hoir_ray.tasks import load_task
from hoir_ray.tasks.contract import read_config
from hoir_ray.tasks.fit import fit
from hoir_ray.trackers import build_trackers, check_tracker
from hoir_ray.training.loop import Epoch, Fit, Hooks

if TYPE_CHECKING:
    from torch import nn

_SOURCES = ("image", "images", "folder", "files")  # the settings that name what is trained on
_log = logging.getLogger(__name__)


def train_pack(
    name: str,
    settings: Sequence[str],
    *,
    to: Path | None,
    trackers: Sequence[str],
    show: Callable[[Epoch, int], None],
    say: Callable[[str], object] = lambda _: None,
) -> tuple[Path, Fit]:
    """Train one network and write its model pack; returns the pack's folder.

    Args:
        say: Told what is trained on and how much there is to do, before it is begun.

    Raises:
        StoppedError: After SIGINT or SIGTERM, once the pack of the best epoch so far is written.
    """
    task = load_task(name)
    config = read_config(task, settings)
    folder = to or Path("hoir-runs", "train", f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    try_destination(folder, is_folder=True, source="--to")
    for tracker in trackers:
        check_tracker(tracker, {})
    inputs = config.model_dump(mode="json")["data"]
    say(f"{name}: reading {wording.settings({k: v for k, v in inputs.items() if k in _SOURCES})}")
    data = task.data(config)
    steps = -(-data.train.num_samples // config.training.batch_size)
    say(
        f"training {task.num_parameters(config):,} parameters on {data.train.num_samples:,} samples: "
        f"{config.training.max_epochs} epochs of {steps:,} steps; "
        f"its pack takes about {wording.size(4 * task.num_parameters(config))}"
    )
    for note in data.notes:
        _log.warning("%s", note)
    parameters = flatten(config.model_dump(mode="json", exclude_unset=True))
    watchers = build_trackers(
        {t: {} for t in trackers},
        directory=folder / "trackers",
        sweep="train",
        trial=name,
        run=uuid.uuid4().hex,
        parameters=parameters,
    )
    interrupted, at_end = threading.Event(), dict[str, float]()
    with on_interrupt(lambda _: _set_once(interrupted), signals=SIGNALS):

        def on_epoch(epoch: Epoch) -> bool:
            show(epoch, config.training.max_epochs)
            return not interrupted.is_set()

        def on_end(network: nn.Module) -> dict[str, float]:
            at_end.update(task.measure_end(network, config, data, False))
            return at_end

        hooks = Hooks(metric="val_loss", goal="minimize", trackers=watchers, on_epoch=on_epoch, on_end=on_end)
        network, outcome = fit(task, config, data, hooks)
    write_pack(
        folder,
        task=task,
        config=config,
        facts=data.facts,
        state=outcome.state,
        metrics={"epoch": float(outcome.best_epoch), **outcome.best_metrics, **at_end},
        preview=task.pictures(network, data)["preview"],
    )
    if interrupted.is_set() and outcome.epochs < config.training.max_epochs and not outcome.stopped_early:
        raise StoppedError(
            f"interrupted after epoch {outcome.epochs} of {config.training.max_epochs}; the best so far, that of epoch "
            f"{outcome.best_epoch}, is kept in {folder}"
        )
    return folder, outcome


def _set_once(interrupted: threading.Event) -> bool:
    was_set = interrupted.is_set()
    interrupted.set()
    return not was_set
