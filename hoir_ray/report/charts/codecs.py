"""Rate-distortion curves: networks' files beside those of other codecs, of the same picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from hoir_ray.pictures.rate_distortion import CodecCurves, RatePoint, bd_rate
from hoir_ray.report.chart import PALETTE, Chart, axis, plain
from hoir_ray.results.front import stored_front
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.summary import CODECS
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.storage import MissingObjectError

OURS = "networks"
_QUALITIES = {"psnr_db": ("PSNR", "dB"), "ssim": ("SSIM", "")}
_DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")
_MARKS = ("square", "diamond", "triangle-up", "triangle-down", "cross")


def draw(sweep: SweepResults) -> dict[str, Chart]:
    """The charts of a sweep whose networks are kept as files; the codecs' curves were made when it ended."""
    front = stored_front(sweep.leaderboard())
    ours = [_point(metrics_of(r), label=r.trial) for r in front]
    if not ours:
        return {}
    try:
        curves = CodecCurves.model_validate_json(sweep.storage.get(CODECS))
    except (MissingObjectError, ValidationError):
        return {}
    has_ssim = all("stored_ssim" in metrics_of(r) for r in front)
    charts = {"codecs": rate_chart(ours, curves)}
    return charts | ({"codecs_ssim": rate_chart(ours, curves, quality="ssim")} if has_ssim else {})


def rate_chart(ours: Sequence[RatePoint], curves: CodecCurves, *, quality: str = "psnr_db") -> Chart:
    """Quality against bytes, and by how much fewer or more bytes the networks need than each codec.

    Args:
        quality: `psnr_db` or `ssim`.
    """
    name, unit = _QUALITIES[quality]
    known = {OURS: tuple(ours), **curves.codecs}
    title = f"{name} against bytes, beside other codecs"
    traces = [
        _trace(codec, points, number=i, quality=quality, num_pixels=curves.num_pixels)
        for i, (codec, points) in enumerate(known.items())
    ]
    layout = {
        "xaxis": axis("bytes of the file", log=True),
        "yaxis": axis(f"{name}, {unit}" if unit else name),
        "hovermode": "closest",
    }
    return Chart(
        title=title,
        summary=" ".join(rate_lines(ours, curves, quality=quality)),
        figure={"data": traces, "layout": layout},
        header=("file", "bytes", "bits per pixel", name),
        rows=[
            (
                f"{codec} {point.label}".strip(),
                f"{point.size_bytes:,}",
                f"{8 * point.size_bytes / curves.num_pixels:.3f}",
                f"{getattr(point, quality):.4g}",
            )
            for codec, points in known.items()
            for point in points
        ],
    )


def rate_lines(ours: Sequence[RatePoint], curves: CodecCurves, *, quality: str = "psnr_db") -> list[str]:
    """A sentence for each codec: the mean difference in bytes (BD-rate) and the bounds that it holds between."""
    name, unit = _QUALITIES[quality]
    lines = []
    for codec, points in curves.codecs.items():
        found = bd_rate(ours, points, quality=quality)
        if found is None:
            lines.append(f"{codec}: no stretch of {name} that both reach.")
            continue
        word = "fewer" if found.percent < 0 else "more"
        bounds = f"{found.low:.4g} and {found.high:.4g}{f' {unit}' if unit else ''}"
        lines.append(
            f"Than {codec} the networks need {abs(found.percent):.1f} % {word} bytes for the same {name}, on average "
            f"between {bounds}, which both reach."
        )
    return lines


def _trace(codec: str, points: Sequence[RatePoint], *, number: int, quality: str, num_pixels: int) -> Mapping[str, Any]:
    colour = PALETTE[number % len(PALETTE)]
    is_ours = codec == OURS
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plain(codec),
        "x": [p.size_bytes for p in points],
        "y": [getattr(p, quality) for p in points],
        "text": [f"{p.label} {8 * p.size_bytes / num_pixels:.3f} bits per pixel".strip() for p in points],
        "line": {"color": colour, "width": 3 if is_ours else 1.5, "dash": "solid" if is_ours else _DASHES[number % 5]},
        "marker": {"color": colour, "size": 9 if is_ours else 6, "symbol": "circle" if is_ours else _MARKS[number % 5]},
        "hovertemplate": f"<b>{plain(codec)}</b> %{{x:,}} bytes<br>%{{y:.4~g}}<br>%{{text}}<extra></extra>",
    }


def _point(metrics: Mapping[str, float], *, label: str) -> RatePoint:
    return RatePoint(
        size_bytes=int(metrics["stored_bytes"]),
        psnr_db=metrics["stored_psnr_db"],
        ssim=metrics.get("stored_ssim", 0.0),
        label=label,
    )
