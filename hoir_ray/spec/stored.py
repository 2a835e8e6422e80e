"""Metrics that are known once a trial has ended, those of its stored form among them, with stand-ins until then."""

from __future__ import annotations

from collections.abc import Mapping

# The metric of an epoch that says most about each, and how it is read. A task that has the one has the other.
STORED = {
    "stored_psnr_db": ("val_psnr_db", "maximize"),
    "stored_ssim": ("val_ssim", "maximize"),
    "stored_bytes": ("num_parameters", "minimize"),
    "stored_bits_per_pixel": ("bits_per_pixel", "minimize"),
}
# The network drawn at the size of a picture that was shrunk, and its own small picture enlarged to it.
ENLARGED = {
    "val_full_psnr_db": ("val_psnr_db", "maximize"),
    "val_full_bicubic_psnr_db": ("val_psnr_db", "maximize"),
}
STAND_INS = STORED | ENLARGED
# The same in every epoch of a trial, so no epoch is best by them.
SIZES = frozenset({"num_parameters", "bits_per_pixel"})


def stand_in(metric: str) -> str:
    """The metric of an epoch that stands for `metric`, which for one that is known by then is itself."""
    return STAND_INS[metric][0] if metric in STAND_INS else metric


def with_stand_ins(row: Mapping[str, float]) -> dict[str, float]:
    """An epoch's metrics with those of a trial's end, as they were measured or as what stands for them."""
    return {**early(row), **row}


def early(row: Mapping[str, float]) -> dict[str, float]:
    """An epoch's metrics as they were before the trial's end, with what stands for those that are measured there."""
    known = {name: row[epoch_metric] for name, (epoch_metric, _) in STAND_INS.items() if epoch_metric in row}
    return {**row, **known}


def stored_metrics_of(epoch_metrics: frozenset[str]) -> frozenset[str]:
    """Names of the stored form's metrics, for a task with these metrics of an epoch."""
    return frozenset(name for name, (stand_in, _) in STORED.items() if stand_in in epoch_metrics)
