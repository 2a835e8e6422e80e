"""Metrics of a network's stored form: known once a trial has ended, with a stand-in for each until then."""

from __future__ import annotations

# The metric of an epoch that says most about each, and how it is read. A task that has the one has the other.
STAND_INS = {
    "stored_psnr_db": ("val_psnr_db", "maximize"),
    "stored_ssim": ("val_ssim", "maximize"),
    "stored_bytes": ("num_parameters", "minimize"),
    "stored_bits_per_pixel": ("bits_per_pixel", "minimize"),
}
# The same in every epoch of a trial, so no epoch is best by them.
SIZES = frozenset({"num_parameters", "bits_per_pixel"})


def stored_metrics_of(epoch_metrics: frozenset[str]) -> frozenset[str]:
    """Names of the stored form's metrics, for a task with these metrics of an epoch."""
    return frozenset(name for name, (stand_in, _) in STAND_INS.items() if stand_in in epoch_metrics)
