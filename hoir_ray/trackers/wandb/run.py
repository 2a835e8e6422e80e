"""W&B's side of a journal: opening its run, sending what the run has not got, and asking whether all of it came."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

# Pillow would load it with the first picture, and where several threads open theirs then, some find no reader.
from PIL import PngImagePlugin as _PngImagePlugin  # noqa: F401

from hoir_ray.trackers.wandb.access import ask_for_last_step, import_sdk, scratch, set_up_sdk
from hoir_ray.trackers.wandb.journal import Entry, Journal

if TYPE_CHECKING:
    import wandb

INIT_TIMEOUT_S = 20.0
_ARRIVAL_S = 5.0  # what was sent may take a moment until W&B tells of it


class OpenRun:
    """A run of W&B's, new or resumed, in which no step is sent twice.

    Raises:
        Exception: Whatever the SDK raises when it cannot start a run.
    """

    def __init__(self, journal: Journal, *, finish_timeout_s: float) -> None:
        self._journal = journal
        self._last_step = -1
        self._sent_pictures: set[Path] = set()
        about = {name: journal.run[name] for name in ("project", "entity", "tags", "id", "name", "group", "job_type")}
        set_up_sdk()
        self._run: wandb.Run = import_sdk().init(
            **about,
            config=journal.run["config"],
            dir=str(scratch()),
            mode="online",
            resume="allow",
            reinit="create_new",
            settings=_settings(finish_timeout_s=finish_timeout_s),
        )
        if journal.run["job_type"] == "trial":
            self._run.define_metric("epoch")
            self._run.define_metric("*", step_metric="epoch")
        self.send_config(journal.run["config"])
        self._first_step = self._run.starting_step

    def send_journal(self) -> None:
        """Send everything that the journal holds and the run does not."""
        for entry in self._journal.entries():
            self.send(entry)
        if (summary := self._journal.summary()) is not None:
            self._send_summary(summary)

    def send_config(self, values: Mapping[str, Any]) -> None:
        self._run.config.update(dict(values), allow_val_change=True)  # type: ignore[no-untyped-call]

    def send(self, entry: Entry) -> None:
        """One epoch; what the run has already, or was sent before, is left out."""
        if entry.epoch < self._first_step:
            return
        metrics = entry.metrics if entry.epoch > self._last_step else {}
        pictures = {name: path for name, path in entry.pictures.items() if path not in self._sent_pictures}
        if metrics or pictures:
            self._sent_pictures.update(pictures.values())
            shown = {f"pictures/{name}": import_sdk().Image(str(path)) for name, path in pictures.items()}
            self._log({**metrics, **shown, "epoch": entry.epoch}, step=entry.epoch)

    def finish(self) -> bool:
        """Finish the run and return whether W&B has everything; the SDK itself does not report what it gave up.

        Raises:
            TimeoutError: If it does not end within its time.
        """
        folder = Path(self._run.dir).parent
        self._run.finish()
        shutil.rmtree(folder, ignore_errors=True)
        end = time.monotonic() + _ARRIVAL_S
        while self._arrived() < self._last_step:
            if time.monotonic() > end:
                return False
            time.sleep(0.5)
        return True

    def _arrived(self) -> int:
        return ask_for_last_step(entity=self._run.entity, project=self._run.project, run=self._run.id)

    def _log(self, row: dict[str, Any], *, step: int) -> None:
        self._last_step = max(step, self._run.step, self._first_step)  # pictures may come after their epoch
        self._run.log(row, step=self._last_step)

    def _send_summary(self, summary: Mapping[str, Any]) -> None:
        rows, packs = (
            summary["trials"],
            {t: place for t, place in summary["packs"].items() if _can_be_referred_to(place)},
        )
        columns: list[str | int] = list(dict.fromkeys(key for row in rows for key in row))
        table = import_sdk().Table(columns=columns, data=[[row.get(str(c)) for c in columns] for row in rows])
        self._log({"trials": table, "num_trials": len(rows)}, step=self._first_step)
        best: Mapping[str, Any] = next((row for row in rows if row["trial"] == summary["best"]), {})
        self._run.summary.update({f"best/{key}": value for key, value in best.items()})
        if packs:
            models = import_sdk().Artifact(f"{self._run.id}-models", type="model", metadata={"best": summary["best"]})
            for trial, address in packs.items():
                models.add_reference(address, name=trial, checksum=False)  # W&B need not be able to read them
            self._run.log_artifact(models)


def _can_be_referred_to(address: str) -> bool:
    """The SDK lists the files of a folder, which another machine may not have."""
    return not address.startswith("file:") or Path(unquote(urlsplit(address).path)).is_dir()


def _settings(*, finish_timeout_s: float) -> wandb.Settings:
    return import_sdk().Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        sagemaker_disable=True,  # or it names the run
        init_timeout=INIT_TIMEOUT_S,
        finish_timeout=finish_timeout_s,
        finish_timeout_raises=True,
    )


def shorten(error: Exception) -> str:
    """One line without the key."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    key = os.environ.get("WANDB_API_KEY")
    return text.replace(key, "***") if key else text
