"""One run per sweep that shows all of its trials side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hoir_ray.trackers._wandb.access import import_sdk
from hoir_ray.trackers._wandb.config import Config
from hoir_ray.trackers._wandb.tracker import WandbTracker, run_id

if TYPE_CHECKING:
    import wandb


def summary_run(
    config: Config,
    *,
    directory: Path,
    sweep: str,
    trials: Sequence[Mapping[str, Any]],
    best: str | None,
    front: Iterable[str],
    packs: Mapping[str, str],
) -> None:
    """Record a table of trials with who is on the Pareto front and where each model pack is, in bounded time.

    Args:
        trials: One row per trial with its name under `trial`; columns are the union of all keys.
        best: The best trial, whose row becomes the run's summary.
        front: Trials on the Pareto front.
        packs: Trial -> address of its model pack.
    """
    tracker = WandbTracker(
        config,
        directory=directory,
        identity={
            "group": sweep,
            "name": f"{sweep} (all trials)",
            "job_type": "sweep",
            "id": run_id(sweep, "all trials"),
        },
        parameters={"sweep": sweep},
    )
    chosen = set(front)
    rows = [{**row, "on_front": row["trial"] in chosen, "pack": packs.get(row["trial"], "")} for row in trials]

    def message(run: wandb.Run) -> None:
        columns: list[str | int] = list(dict.fromkeys(key for row in rows for key in row))
        table = import_sdk().Table(columns=columns, data=[[_cell(row.get(str(c))) for c in columns] for row in rows])
        run.log({"trials": table, "num_trials": len(rows)})
        for row in rows:
            if row["trial"] == best:
                run.summary.update({f"best/{key}": _cell(value) for key, value in row.items()})

    tracker.send(message)
    tracker.close()


def _cell(value: Any) -> str | float | int | bool | None:
    """Tables want one type per cell; lists and the like are shown as text."""
    return value if value is None or isinstance(value, (str, float, int, bool)) else str(value)
