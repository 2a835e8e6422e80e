"""Networks' files beside other codecs, in the terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hoir_ray.cli.terminal.console import console, print_json, print_table

if TYPE_CHECKING:
    from hoir_ray.pictures.rate_distortion import Comparison


def print_comparison(found: Comparison, *, as_json: bool) -> None:
    """Print each network's file with the decibels of other codecs in as many bytes, and mean differences in bytes."""
    from hoir_ray.report.charts.codecs import rate_lines

    if as_json:
        print_json(_plain(found))
        return
    curves = found.curves
    console.print(f"{found.picture}, {curves.width} x {curves.height} pixels; dB of other codecs in no more bytes")
    headings = ["file", "bytes", "bits/pixel", "dB", "SSIM", *curves.codecs]
    rows = []
    for point, equal in zip(found.ours, found.equal, strict=True):
        others = [equal.get(codec) for codec in curves.codecs]
        rate = 8 * point.size_bytes / curves.num_pixels
        cells = ["too large" if other is None else f"{other.psnr_db:.2f}" for other in others]
        rows.append(
            [point.label, f"{point.size_bytes:,}", f"{rate:.3f}", f"{point.psnr_db:.2f}", f"{point.ssim:.4f}", *cells]
        )
    print_table(headings, rows)
    for quality in ("psnr_db", "ssim"):
        for line in rate_lines(found.ours, curves, quality=quality):
            console.print(line)
    if found.missing:
        console.print(f"this machine's Pillow has no {', '.join(found.missing)}")


def _plain(found: Comparison) -> dict[str, Any]:
    from hoir_ray.pictures.rate_distortion import bd_rate

    def differences(quality: str) -> dict[str, Any]:
        each = {codec: bd_rate(found.ours, points, quality=quality) for codec, points in found.curves.codecs.items()}
        return {codec: None if difference is None else asdict(difference) for codec, difference in each.items()}

    return {
        "name": found.name,
        "picture": found.picture,
        "networks": [p.model_dump() for p in found.ours],
        **found.curves.model_dump(mode="json"),
        "equal_bytes": [{c: p.model_dump() if p else None for c, p in equal.items()} for equal in found.equal],
        "bd_rate": {quality: differences(quality) for quality in ("psnr_db", "ssim")},
        "missing": list(found.missing),
    }
