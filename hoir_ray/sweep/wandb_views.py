"""A sweep's view and report in W&B: what they show, and that each sweep has one. The sweep never waits for long."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from hoir_ray import wording
from hoir_ray.errors import HoirError
from hoir_ray.results.front import axes_of, pareto_front
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.ranking import ranked
from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.spec.space import Space
from hoir_ray.spec.stored import SIZES, stand_in
from hoir_ray.storage import Storage
from hoir_ray.trackers.wandb import Config, Contents, Ended, Saved, ViewMaker, run_id
from hoir_ray.trackers.wandb.view_program import Axis
from hoir_ray.trials.trackers import run_key

KEPT = "trackers/views.json"
MAX_FRONT = 20  # trials of the front in a report
_ENDING_S = 5.0  # for a program to be ended and its folder removed, once its time is over
_log = logging.getLogger(__name__)


class WandbViews:
    """The view and the report of one sweep, each made once; a resumed sweep keeps its view and rewrites its report.

    Args:
        say: Is told the addresses, which come from outside.
    """

    def __init__(
        self,
        spec: SweepSpec,
        storage: Storage,
        config: Config,
        *,
        space: Space,
        pictures: Sequence[str],
        say: Callable[[str], object],
    ) -> None:
        self._spec, self._storage, self._say = spec, storage, say
        self._config = config
        self._contents = contents(spec, space=space, pictures=pictures)
        self._maker = ViewMaker(self._config)
        self._thread = threading.Thread(target=self._quietly, args=(self._make_view,), name="hoir-view", daemon=True)

    def start(self) -> None:
        """Make the view beside the sweep."""
        self._thread.start()

    def finish(self, records: Sequence[TrialRecord]) -> None:
        """Make the report once the view is made, for either no longer than the configured time."""
        if self._thread.ident is not None:
            self._thread.join(timeout=self._config.finish_timeout_s + _ENDING_S)
        if not self._thread.is_alive():
            self._quietly(self._make_report, records)

    def close(self) -> None:
        """End what is still being made."""
        self._maker.close()

    def _make_view(self) -> None:
        kept = self._kept("view")
        saved = kept or self._maker.save_view(self._contents, run=run_key(self._storage))
        if saved is not None:
            self._say(f"W&B: view of this sweep: {saved.address}")
            self._keep("view", saved)

    def _make_report(self, records: Sequence[TrialRecord]) -> None:
        said = ended(self._spec, records, run=run_key(self._storage))
        saved = self._maker.save_report(self._contents, said, before=self._kept("report"))
        if saved is not None:
            self._say(f"W&B: report of this sweep: {saved.address}")
            self._keep("report", saved)

    def _quietly(self, make: Callable[..., None], *arguments: Any) -> None:
        try:
            make(*arguments)
        except Exception as error:  # watching must never end what is watched
            _log.warning("W&B: no view or report: %s", error)

    def _kept(self, what: str) -> Saved | None:
        """The view or report that this sweep has in this project already; a copy elsewhere has none yet."""
        found = self._document().get(what)
        return Saved(**found) if found else None

    def _keep(self, what: str, saved: Saved) -> None:
        self._storage.put(KEPT, json.dumps({**self._document(), what: asdict(saved)}, indent=2).encode())

    def _document(self) -> dict[str, Any]:
        owner = {"run": run_key(self._storage), "project": self._config.project, "entity": self._config.entity}
        try:
            kept = json.loads(self._storage.get(KEPT)) if self._storage.exists(KEPT) else {}
            return kept if {name: kept.get(name) for name in owner} == owner else owner
        except (HoirError, ValueError, AttributeError):
            return owner


def contents(spec: SweepSpec, *, space: Space, pictures: Sequence[str]) -> Contents:
    """Contents of the sweep's view: its metrics, the parameters that vary, and the task's pictures."""
    quality, *costs = axes_of(spec)
    varied = {d.path: d.log for d in space.dimensions if len(d.corners()) > 1}
    curves = dict.fromkeys(stand_in(metric.name) for metric in spec.metrics)
    return Contents(
        sweep=spec.name,
        curves=(*(Axis(name) for name in curves if name not in SIZES), Axis("train_loss", log=True)),
        parameters=tuple(Axis(path, log=log) for path, log in varied.items()),
        quality=_axis(quality),
        costs=tuple(_axis(metric) for metric in costs),
        pictures=tuple(pictures),
    )


def ended(spec: SweepSpec, records: Sequence[TrialRecord], *, run: str) -> Ended:
    """Words of the sweep's report: how many trials ended how, and the front with its settings."""
    metrics = axes_of(spec)
    front = pareto_front(ranked(records, spec=spec), metrics=metrics)[:MAX_FRONT]
    counts = Counter(record.state.lower() for record in records)
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    rows = tuple(
        (
            record.trial,
            run_id(spec.name, record.trial, run=run),
            (
                *(wording.number(metrics_of(record)[metric.name]) for metric in metrics),
                wording.settings(record.parameters),
            ),
        )
        for record in front
    )
    return Ended(
        summary=f"Sweep {spec.name}, {len(records)} trials: {states or 'none'}.",
        columns=(*(metric.name for metric in metrics), "settings"),
        front=rows,
    )


def _axis(metric: MetricSpec) -> Axis:
    return Axis(metric.name, goal=metric.goal, log=metric.name in SIZES or metric.name.startswith("stored_b"))
