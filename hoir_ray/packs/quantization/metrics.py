"""Metrics of a network's stored form: what the file weighs, and what is drawn from it."""

from __future__ import annotations

from hoir_ray.packs.quantization.form import Form
from hoir_ray.training.facts import Facts

_DRAWN = {"val_psnr_db": "stored_psnr_db", "val_ssim": "stored_ssim"}


def stored_metrics(form: Form, *, facts: Facts) -> dict[str, float]:
    """`stored_bytes` is the length of the file, header and all; the rest as far as the task measures it."""
    metrics = {"stored_bytes": float(form.size_bytes)}
    if facts.num_pixels is not None:
        metrics["stored_bits_per_pixel"] = 8 * form.size_bytes / facts.num_pixels
    return {**metrics, **{stored: form.metrics[name] for name, stored in _DRAWN.items() if name in form.metrics}}
