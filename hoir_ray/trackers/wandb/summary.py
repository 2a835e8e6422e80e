"""One run per sweep that shows all of its trials side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hoir_ray.trackers.wandb.config import Config
from hoir_ray.trackers.wandb.tracker import WandbTracker, run_id


def summary_run(
    config: Config,
    *,
    directory: Path,
    sweep: str,
    run: str,
    trials: Sequence[Mapping[str, Any]],
    best: str | None,
    front: Iterable[str],
    packs: Mapping[str, str],
) -> None:
    """Record in bounded time a table of trials with who is on the Pareto front, and references to their model packs.

    Args:
        run: Tells this sweep from others of the same name.
        trials: One row per trial with its name under `trial`; columns are the union of all keys.
        best: The best trial, whose row becomes the run's summary.
        front: Trials on the Pareto front.
        packs: Trial -> address of its model pack, `s3://` or the path of a folder.
    """
    tracker = WandbTracker(
        config,
        directory=directory,
        identity={
            "group": sweep,
            "name": f"{sweep} (all trials)",
            "job_type": "sweep",
            "id": run_id(sweep, "all trials", run=run),
        },
        parameters={"sweep": sweep},
    )
    chosen = set(front)
    rows = [{**row, "on_front": row["trial"] in chosen, "pack": packs.get(row["trial"], "")} for row in trials]
    addresses = {t: place if "://" in place else Path(place).absolute().as_uri() for t, place in packs.items()}
    tracker.log_summary({"trials": [_cells(row) for row in rows], "best": best, "packs": addresses})
    tracker.close()


def _cells(row: Mapping[str, Any]) -> dict[str, str | float | int | bool | None]:
    """Tables want one type per cell; lists and the like are shown as text."""
    plain = (str, float, int, bool)
    return {key: value if value is None or isinstance(value, plain) else str(value) for key, value in row.items()}
