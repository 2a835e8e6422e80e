"""Model packs: the outcome of a training, metrics, and files written."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hoir_ray import wording
from hoir_ray.cli.terminal.console import console, print_json, print_pairs, progress

if TYPE_CHECKING:
    from hoir_ray.packs.quantization.form import Form
    from hoir_ray.training.facts import Facts
    from hoir_ray.training.loop import Fit


def print_fit(pack: Path, fit: Fit) -> None:
    """Print the outcome of one training."""
    stopped = " (stopped early)" if fit.stopped_early else ""
    console.print(f"best epoch {fit.best_epoch} of {fit.epochs}{stopped}")
    print_metrics(fit.best_metrics, as_json=False)
    console.print(f"model pack: {pack}")
    console.print(f"next: hoir render {shlex.quote(str(pack))} --out picture.png")


def print_written(written: tuple[Path, tuple[int, int, int]]) -> None:
    out, (frames, height, width) = written
    many = f", {frames} frames" if frames > 1 else ""
    console.print(f"wrote {out}: {width} x {height} pixels{many}")


def print_metrics(metrics: Mapping[str, float], *, as_json: bool) -> None:
    if as_json:
        print_json(dict(metrics))
    else:
        print_pairs({name: wording.number(value) for name, value in metrics.items()})


def print_imported(pack: Path, metrics: Mapping[str, float]) -> None:
    print_metrics(metrics, as_json=False)
    console.print(f"model pack: {pack}")
    console.print(f"next: hoir render {shlex.quote(str(pack))} --out picture.png")


def print_exported(out: Path, usage: str) -> None:
    console.print(f"wrote {out}")
    console.print(usage, markup=False, highlight=False, soft_wrap=True)


def show_form(form: Form) -> None:
    """One of the stored forms that a search tries."""
    progress(f"{form.size_bytes:,} bytes, {form.psnr_db:.2f} dB")


def print_form(form: Form, *, out: Path, facts: Facts, as_json: bool) -> None:
    """The stored form that was written."""
    from hoir_ray.packs.quantization.metrics import stored_metrics

    metrics = stored_metrics(form, facts=facts)
    if as_json:
        print_json({"file": str(out), **metrics})
        return
    drawn = f", {metrics['stored_psnr_db']:.2f} dB" if "stored_psnr_db" in metrics else ""
    rate = f" ({metrics['stored_bits_per_pixel']:.3f} bits per pixel)" if "stored_bits_per_pixel" in metrics else ""
    console.print(f"wrote {out}: {form.size_bytes:,} bytes{rate}{drawn}")
