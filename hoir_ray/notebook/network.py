"""A model pack in a notebook: a torch module that shows its picture."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from hoir_ray import wording
from hoir_ray.errors import RequestError
from hoir_ray.machine.files import read_regular
from hoir_ray.packs.export.html import page_of
from hoir_ray.packs.load import load as load_pack
from hoir_ray.packs.pack import MAX_BYTES, PREVIEW, Pack
from hoir_ray.packs.render import read_options

if TYPE_CHECKING:
    pass


class Representation(nn.Module):
    """A trained network with its picture: call it with positions, draw it at any size, or let a notebook show it."""

    def __init__(self, pack: Pack) -> None:
        super().__init__()
        self.network = pack.network
        self.pack = pack

    def forward(self, positions: Float[Tensor, "positions 2"], *more: Tensor) -> Tensor:
        """Colours at positions (x, y) in [-1, 1], from the picture's left and top to its right and bottom.

        Returns:
            Red, green and blue in [0, 1] for a network that represents one picture. The networks of other tasks take
            inputs of their own, one or several, and answer as they were trained to: in [-1, 1].
        """
        if self.pack.task.colours is None:
            return self.network(positions, *more)
        return self.pack.task.colours(self.network, self.pack.config, self.pack.facts, positions)

    def render(self, size: str | tuple[int, int] | None = None, **options: object) -> Image.Image:
        """The picture as `hoir render` draws it.

        Args:
            size: `<width>x<height>` or (width, height) in pixels; None draws it as large as it was trained.
            options: The task's other flags of `hoir render`, such as `caption`; the first frame is returned.

        Raises:
            RequestError: For an option that the task does not have or a value that it refuses.
        """
        if size is not None:
            options["size"] = size if isinstance(size, str) else f"{size[0]}x{size[1]}"
        chosen = read_options(options, self.pack.task)
        with torch.inference_mode():
            frame = self.pack.task.render(self.network, self.pack.config, self.pack.facts, chosen)[0]
        return Image.fromarray(frame.mul(255).round().to(torch.uint8).numpy())

    def _repr_png_(self) -> bytes:
        if self.pack.folder.is_dir():
            return read_regular(self.pack.folder / PREVIEW, max_bytes=MAX_BYTES[PREVIEW])
        drawn = io.BytesIO()  # one file has no preview
        self.render().save(drawn, format="PNG")
        return drawn.getvalue()

    def _repr_html_(self) -> str:
        """The zoomable picture where the network represents one, else the preview; with the metrics below."""
        rows = {"task": self.pack.task.name, **{k: wording.number(v) for k, v in self.pack.metrics.items()}}
        try:
            page = page_of(self.pack)
        except RequestError:
            return self._preview() + html_table(rows)
        return (
            f'<iframe title="the picture, drawn by its network" sandbox="allow-scripts allow-downloads" '
            f'style="width: 100%; height: 32rem; border: 0" srcdoc="{html.escape(page)}"></iframe>{html_table(rows)}'
        )

    def _preview(self) -> str:
        encoded = "data:image/png;base64," + base64.b64encode(self._repr_png_()).decode()
        return f'<img alt="what the network draws" src="{encoded}"><br>'


def load(pack: str | Path) -> Representation:
    """The network of a model pack, a folder or a `.hoir` file, on the CPU.

    Raises:
        PackError: If the pack is damaged or missing.
    """
    return Representation(load_pack(Path(pack)))


def html_table(rows: dict[str, str]) -> str:
    cells = (f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items())
    return f"<table>{''.join(cells)}</table>"
