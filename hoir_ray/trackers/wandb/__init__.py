"""W&B: one run per trial, grouped by sweep. It never holds up a training; what is not sent waits for `hoir sync`."""

from __future__ import annotations

from hoir_ray.trackers.wandb.access import check, find_access
from hoir_ray.trackers.wandb.config import Config
from hoir_ray.trackers.wandb.journal import find_journals
from hoir_ray.trackers.wandb.summary import summary_run
from hoir_ray.trackers.wandb.sync import sync
from hoir_ray.trackers.wandb.tracker import WandbTracker, build, run_id
from hoir_ray.trackers.wandb.view_program import Contents, Ended, Saved
from hoir_ray.trackers.wandb.views import ViewMaker

__all__ = [
    "Config",
    "Contents",
    "Ended",
    "Saved",
    "ViewMaker",
    "WandbTracker",
    "build",
    "check",
    "find_access",
    "find_journals",
    "run_id",
    "summary_run",
    "sync",
]
