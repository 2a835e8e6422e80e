"""The charts of a report by name; each is drawn by one file of this folder."""

from __future__ import annotations

from hoir_ray.report.chart import Draw
from hoir_ray.report.charts import curves, front, importance, layers, parallel, progress

CHARTS: dict[str, Draw] = {
    "front": front.draw,
    "progress": progress.draw,
    "curves": curves.draw,
    "importance": importance.draw,
    "parallel": parallel.draw,
    "layers": layers.draw,
}
