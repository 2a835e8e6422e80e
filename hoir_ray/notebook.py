"""Sweeps and model packs as a notebook handles them: tables, figures, and networks that show their picture."""

from __future__ import annotations

import base64
import html
import math
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from hoir_ray import wording
from hoir_ray.checkpoint import PREVIEW, Pack, load_pack
from hoir_ray.config import nearest
from hoir_ray.errors import RequestError
from hoir_ray.ledger import TrialRecord
from hoir_ray.registry import OpenedSweep, pull, table_rows
from hoir_ray.registry import open_sweep as _open_sweep

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


class Representation(nn.Module):
    """A trained network with its picture: call it with positions, draw it at any size, or let a notebook show it."""

    def __init__(self, pack: Pack) -> None:
        super().__init__()
        self.network = pack.network
        self.pack = pack

    def forward(self, positions: Float[Tensor, "positions 2"], *more: Tensor) -> Tensor:
        """Colours at positions (x, y) in [-1, 1], from the picture's left and top to its right and bottom.

        Returns:
            Red, green and blue in [0, 1] for the task `image`. The networks of other tasks take inputs of their own,
            one or several, and answer as they were trained to: in [-1, 1].
        """
        if self.pack.task.name != "image":
            return self.network(positions, *more)
        return ((self.network(self._axes(positions)) + 1) / 2).clamp(0, 1)

    def render(self, size: str | tuple[int, int] | None = None, **options: object) -> Image.Image:
        """The picture as `hoir render` draws it.

        Args:
            size: `<width>x<height>` or (width, height) in pixels; None draws it as large as it was trained.
            options: The task's other flags of `hoir render`, such as `caption`; the first frame is returned.

        Raises:
            pydantic.ValidationError: For an option that the task does not have or a value that it refuses.
        """
        if size is not None:
            options["size"] = size if isinstance(size, str) else f"{size[0]}x{size[1]}"
        chosen = self.pack.task.render_options.model_validate(options)
        with torch.inference_mode():
            frame = self.pack.task.render(self.network, self.pack.config, self.pack.facts, chosen)[0]
        return Image.fromarray(frame.mul(255).round().to(torch.uint8).numpy())

    def _axes(self, positions: Tensor) -> Tensor:
        """Rotated axes at positions, scaled as those of the picture's own pixels were."""
        config: Any = self.pack.config
        width, height = (int(self.pack.facts[side]) - 1 for side in ("width", "height"))  # type: ignore[arg-type]
        wide, high = width / max(width, height), height / max(width, height)
        x, y = positions[:, 0] * wide, positions[:, 1] * high
        axes = []
        for rotation in range(config.data.num_rotations):
            angle = math.pi / 2 * rotation / config.data.num_rotations
            cos, sin = math.cos(angle), math.sin(angle)
            axes.append((cos * x + sin * y) / (cos * wide + sin * high))
            axes.append((cos * y - sin * x) / (cos * high + sin * wide))
        return torch.stack(axes, dim=1)

    def _repr_png_(self) -> bytes:
        return (self.pack.folder / PREVIEW).read_bytes()

    def _repr_html_(self) -> str:
        encoded = "data:image/png;base64," + base64.b64encode(self._repr_png_()).decode()
        rows = {"task": self.pack.task.name, **{k: wording.number(v) for k, v in self.pack.metrics.items()}}
        return f'<img alt="what the network draws" src="{encoded}"><br>{_pairs(rows)}'


class FoundSweep:
    """What a sweep has found so far.

    Attributes:
        opened: The sweep as it lies in storage.
    """

    def __init__(self, opened: OpenedSweep) -> None:
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
        leaders = self.opened.finished()
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
        if leaders := self.opened.finished():
            name = self.opened.spec.metric.name
            rows["best"] = f"{leaders[0].trial}: {name} {wording.number((leaders[0].best or {})[name])}"
        return _pairs(rows)


def open_sweep(where: str | Path, *, endpoint_url: str | None = None) -> FoundSweep:
    """A sweep by its name under ./hoir-runs, its folder, or its `s3://` URI.

    Raises:
        RequestError: If there is no sweep there.
    """
    return FoundSweep(_open_sweep(str(where), endpoint_url=endpoint_url))


def load(pack: str | Path) -> Representation:
    """The network of a model pack, on the CPU.

    Raises:
        PackError: If the pack is damaged or missing.
    """
    return Representation(load_pack(Path(pack)))


def _pairs(rows: dict[str, str]) -> str:
    cells = (f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items())
    return f"<table>{''.join(cells)}</table>"
