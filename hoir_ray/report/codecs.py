"""One page about a picture's files: curves of quality against bytes, and pictures at equal bytes under one zoom."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from hoir_ray.pictures.rate_distortion import Comparison
from hoir_ray.report.charts.codecs import rate_chart
from hoir_ray.report.page import fill_template, part, serialized, write_page


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """Write the page; the file appears whole or not at all.

    Raises:
        StorageError: If it cannot be written.
    """
    return write_page(build_comparison(comparison), out)


def build_comparison(comparison: Comparison) -> str:
    """The page's HTML; everything is in it and nothing is fetched."""
    curves = comparison.curves
    charts = {
        "psnr": rate_chart(comparison.ours, curves),
        "ssim": rate_chart(comparison.ours, curves, quality="ssim"),
    }
    files: dict[str, str] = {}
    panels = [
        {
            "label": panel.label,
            "size": panel.size_bytes,
            "pictures": [
                {"caption": caption, "file": _added(files, picture)}
                for caption, picture in [("original", comparison.original), *panel.shown.items()]
            ],
        }
        for panel in comparison.panels
    ]
    figures = {name: chart.figure for name, chart in charts.items()}
    data: dict[str, Any] = {"figures": figures, "pictures": {}, "captions": {}, "files": files, "panels": panels}
    height, width, _ = comparison.original.shape
    return fill_template(
        "codecs.html",
        comparison=comparison,
        charts=charts,
        panels=panels,
        is_part=(height, width) != (curves.height, curves.width),
        shown=f"{width} x {height}",
        size=f"{curves.width} x {curves.height}",
        header=["file", "bytes", "bits per pixel", "dB", "SSIM", *(f"{c}, dB" for c in curves.codecs)],
        rows=list(_rows(comparison)),
        data=serialized(data),
        zoom=part("codecs.js"),
    )


def _rows(comparison: Comparison) -> list[list[str]]:
    """Each network's file, and the decibels of each codec in as many bytes."""
    rows = []
    for point, equal in zip(comparison.ours, comparison.equal, strict=True):
        others = [equal.get(codec) for codec in comparison.curves.codecs]
        rows.append(
            [
                point.label,
                f"{point.size_bytes:,}",
                f"{8 * point.size_bytes / comparison.curves.num_pixels:.3f}",
                f"{point.psnr_db:.2f}",
                f"{point.ssim:.4f}",
                *("no file that small" if other is None else f"{other.psnr_db:.2f}" for other in others),
            ]
        )
    return rows


def _added(files: dict[str, str], picture: Tensor) -> str:
    """Store a picture once, without loss, and return its key."""
    pixels = picture.numpy()
    key = hashlib.sha256(pixels.tobytes()).hexdigest()[:16]
    if key not in files:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "WEBP", lossless=True, quality=50, method=2)
        files[key] = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
    return key
