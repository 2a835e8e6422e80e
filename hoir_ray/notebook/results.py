"""A sweep's results in a notebook: tables and figures."""

from __future__ import annotations

import html
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hoir_ray import wording
from hoir_ray.config import nearest
from hoir_ray.errors import RequestError
from hoir_ray.results.pull import pull
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.summary import table_rows
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.results.sweep_results import open_sweep as _open_sweep

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
from hoir_ray.notebook.network import Representation, html_table, load


class NotebookSweep:
    """Results of a sweep in a notebook, so far.

    Attributes:
        opened: The sweep as it lies in storage.
    """

    def __init__(self, opened: SweepResults) -> None:
        self.opened = opened

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row per trial: state, reason, `parameter.*` and the best epoch's `metric.*`."""
        import pandas as pd

        rows = table_rows(self.opened.records)
        return pd.DataFrame(rows).set_index("trial") if rows else pd.DataFrame()

    @property
    def best(self) -> TrialRecord:
        """The first of the leaderboard.

        Raises:
            RequestError: If no trial has finished within the constraints.
        """
        leaders = self.opened.leaderboard()
        if not leaders:
            raise RequestError(f"sweep '{self.opened.spec.name}' has no finished trial yet")
        return leaders[0]

    @property
    def pareto(self) -> pd.DataFrame:
        """The rows of `trials` that no other one beats in every metric, best first."""
        return self.trials.loc[[r.trial for r in self.opened.front()]]

    def figure(self, name: str) -> go.Figure:
        """One of the report's charts: front, progress, curves, importance, parallel or layers.

        Raises:
            RequestError: If there is no such chart, or nothing to draw yet.
        """
        import plotly.graph_objects as go

        from hoir_ray.report.charts import CHARTS

        if name not in CHARTS:
            raise RequestError(f"no figure '{name}'.{nearest(name, CHARTS)} There are: {', '.join(CHARTS)}")
        chart = CHARTS[name](self.opened)
        if chart.figure is None:
            raise RequestError(chart.summary)
        layout = {k: v for k, v in chart.figure["layout"].items() if k != "minWidth"}
        return go.Figure(data=chart.figure["data"], layout={**layout, "title": {"text": html.escape(chart.title)}})

    def pull(self, to: str | Path, *, trial: str | None = None) -> Representation:
        """Bring the best trial's model pack, or another's, into the folder `to`, and load it."""
        pull(self.opened, to=Path(to), trial=trial)
        return load(to)

    def _repr_html_(self) -> str:
        states = Counter(r.state for r in self.opened.records)
        rows = {"sweep": self.opened.spec.name, "task": self.opened.spec.task}
        rows["trials"] = ", ".join(f"{n} {state.lower()}" for state, n in sorted(states.items())) or "none"
        if leaders := self.opened.leaderboard():
            name = self.opened.spec.metric.name
            rows["best"] = f"{leaders[0].trial}: {name} {wording.number((leaders[0].best or {})[name])}"
        return html_table(rows)


def open_sweep(where: str | Path, *, endpoint_url: str | None = None) -> NotebookSweep:
    """A sweep by its name under ./hoir-runs, its folder, or its `s3://` URI.

    Raises:
        RequestError: If there is no sweep there.
    """
    return NotebookSweep(_open_sweep(str(where), endpoint_url=endpoint_url))
