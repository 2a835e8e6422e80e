"""The pages and what they ask for: the index, a sweep's live report, a trial, its picture and its pack."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from hoir_ray import __version__, wording
from hoir_ray.errors import HoirError, RequestError, StorageError
from hoir_ray.results.management.storage_root import StorageRoot
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.story import tell
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.serve.access import SANDBOX
from hoir_ray.serve.drawing import MAX_DEPTH, TILE, Drawings
from hoir_ray.serve.feed import Feed
from hoir_ray.storage import MissingObjectError
from hoir_ray.tasks import load_task

STATIC = {"style.css": "text/css", **dict.fromkeys(("index.js", "sweep.js", "view.js"), "text/javascript")}
MAX_PACK_BYTES = 512 * 2**20  # of a download, which is put together in memory


def build_app(root: StorageRoot) -> Starlette:
    """Build the application over a storage root; who may ask it is for `Access` to say."""
    pages = Pages(Feed(root))
    return Starlette(
        routes=[
            Route("/", pages.index),
            Route("/sweeps.json", pages.sweeps),
            Route("/static/{name}", pages.static),
            Route("/sweeps/{sweep}", pages.sweep),
            Route("/sweeps/{sweep}/version", pages.version),
            Route("/sweeps/{sweep}/report", pages.report),
            Route("/sweeps/{sweep}/trials/{trial}", pages.trial),
            Route("/sweeps/{sweep}/trials/{trial}/picture.png", pages.picture),
            Route("/sweeps/{sweep}/trials/{trial}/pack.zip", pages.pack),
            Route("/sweeps/{sweep}/trials/{trial}/view", pages.view),
            Route("/sweeps/{sweep}/trials/{trial}/tiles/{depth:int}/{column:int}/{row:int}.png", pages.tile),
        ],
        exception_handlers={HoirError: _explain},
    )


def _explain(request: Request, error: Exception) -> Response:
    """Answer for what is not there or cannot be read: a line, and no traceback."""
    status = 404 if isinstance(error, RequestError) else 503 if isinstance(error, StorageError) else 500
    return PlainTextResponse(f"{error}\n", status_code=status)


class Pages:
    """Answers of the application; Starlette calls each in a thread of its own."""

    def __init__(self, feed: Feed) -> None:
        self.feed, self.drawings = feed, Drawings()

    def index(self, request: Request) -> Response:
        return _page("index.html", storage=self.feed.root.storage.uri)

    def sweeps(self, request: Request) -> Response:
        rows = [
            {**entry.as_dict(), "href": f"/sweeps/{quote(entry.name, safe='')}", "size": wording.size(entry.size_bytes)}
            for entry in self.feed.entries()
        ]
        return JSONResponse({"sweeps": rows})

    def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            return PlainTextResponse("no such file\n", status_code=404)
        return Response(_part(name), media_type=STATIC[name])

    def sweep(self, request: Request) -> Response:
        name = request.path_params["sweep"]
        opened = self.feed.sweep(name)
        return _page("sweep.html", name=name, spec=opened.spec, version=opened.version)

    def version(self, request: Request) -> Response:
        return PlainTextResponse(self.feed.sweep(request.path_params["sweep"]).version)

    def report(self, request: Request) -> Response:
        page = self.feed.report(request.path_params["sweep"])
        return HTMLResponse(page, headers={"Content-Security-Policy": SANDBOX})

    def trial(self, request: Request) -> Response:
        opened, record = self._trial(request)
        metrics = metrics_of(record)
        during = opened.spec.epoch_metric.name
        curve = [(row["epoch"], row[during]) for row in record.curve if during in row]
        return _page(
            "trial.html",
            sweep=request.path_params["sweep"],
            record=record,
            names=[r.trial for r in opened.records],
            metrics=[(name, wording.number(value)) for name, value in sorted(metrics.items())],
            settings=list(record.parameters.items()),
            during=during,
            curve=_line(curve),
            ends=[wording.number(curve[i][1]) for i in (0, -1)] if curve else [],
            has_view=record.model is not None and load_task(opened.spec.task).views is not None,
            has_picture=opened.storage.exists(record.picture_key),
            story="\n".join(tell(record, opened.spec)),
        )

    def picture(self, request: Request) -> Response:
        opened, record = self._trial(request)
        try:
            content = opened.storage.get(record.picture_key)
        except MissingObjectError:
            raise RequestError(f"trial '{record.trial}' has no picture") from None
        return Response(content, media_type="image/png")

    def pack(self, request: Request) -> Response:
        opened, record = self._trial(request)
        if record.model is None:
            raise RequestError(f"trial '{record.trial}' left no model")
        objects = opened.storage.list(record.model)
        if not objects:
            raise RequestError(f"the model pack of trial '{record.trial}' is not there any more")
        if (total := sum(o.size_bytes for o in objects)) > MAX_PACK_BYTES:
            raise RequestError(f"the pack has {wording.size(total)}; 'hoir pull' brings packs of any size")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for each in objects:
                inside = each.key.removeprefix(f"{record.model}/")
                archive.writestr(f"{record.trial}/{inside}", opened.storage.get(each.key))
        name = quote(f"{request.path_params['sweep']}-{record.trial}.zip", safe="")
        attached = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
        return Response(packed.getvalue(), media_type="application/zip", headers=attached)

    def view(self, request: Request) -> Response:
        opened, record = self._trial(request)
        drawn = self.drawings.open(opened, record.trial)
        sizes = {caption: drawn.tile_size(caption) for caption in drawn.views}
        return _page(
            "view.html",
            sweep=request.path_params["sweep"],
            trial=record.trial,
            captions=[caption for caption in sizes if caption],
            about=json.dumps({"sizes": sizes, "max_depth": MAX_DEPTH, "tile": TILE, "captioned": "" not in sizes}),
        )

    def tile(self, request: Request) -> Response:
        opened, record = self._trial(request)
        place = [request.path_params[name] for name in ("depth", "column", "row")]
        png = self.drawings.open(opened, record.trial).tile(*place, caption=request.query_params.get("caption", ""))
        return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=600"})

    def _trial(self, request: Request) -> tuple[SweepResults, TrialRecord]:
        opened = self.feed.sweep(request.path_params["sweep"])
        return opened, opened.trial(request.path_params["trial"])


def _line(curve: list[tuple[float, float]], *, width: float = 600.0, height: float = 160.0) -> str:
    """A curve as the points of an SVG polyline; not finite values are left out."""
    points = [(x, y) for x, y in curve if abs(y) < float("inf")]
    if not points:
        return ""
    (x0, x1), (y0, y1) = [(min(v), max(v)) for v in zip(*points, strict=True)]
    spans = (x1 - x0 or 1.0), (y1 - y0 or 1.0)
    return " ".join(f"{(x - x0) / spans[0] * width:.1f},{height - (y - y0) / spans[1] * height:.1f}" for x, y in points)


def _page(template: str, **values: Any) -> HTMLResponse:
    return HTMLResponse(_environment().get_template(template).render(program=f"hoir_ray {__version__}", **values))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hoir_ray.serve", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    filters: dict[str, Callable[..., Any]] = {"segment": lambda text: quote(str(text), safe="")}
    environment.filters.update(filters)
    return environment


@cache
def _part(name: str) -> bytes:
    return files("hoir_ray.serve").joinpath("page", name).read_bytes()
