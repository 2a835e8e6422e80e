"""Sweeps as they lie in storage, made without training: a spec, a ledger of chosen ends, and small real pictures."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import TrialRecord, best_row
from hoir_ray.results.summary import write_summary
from hoir_ray.results.sweep_results import SPEC, SweepResults, open_sweep
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.storage import Storage, open_storage

TEXT = """\
name: made
task: image
data: {image: sample:astronaut, max_side: 24}
metrics:
- {name: val_psnr_db, goal: maximize}
- {name: num_parameters, goal: minimize}
constraints: [num_parameters <= 8000, val_ssim > 0.2]
parameters:
  network.layer_type: {values: [continuous, fourier]}
  network.num_nodes:
  - {when: {network.layer_type: continuous}, values: [2, 3, 4]}
  - {when: {network.layer_type: fourier}, min: 5, max: 31}
  network.input.segments: {when: {network.layer_type: continuous}, min: 8, max: 64}
  network.hidden.width: {min: 4, max: 64}
  training.optimizer.lr: {min: 1.0e-4, max: 1.0e-1, distribution: log_uniform_values}
early_terminate: {type: asha, min_iter: 3, eta: 3}
budget: {max_trials: 40}
"""
SINGLE = TEXT.replace("metrics:\n", "metric: {name: val_psnr_db, goal: maximize}\n")
SINGLE = "\n".join(line for line in SINGLE.splitlines() if not line.startswith("- {name:")) + "\n"


def made_sweep(folder: Path, *, num_trials: int = 24, text: str = TEXT, pictures: bool = True) -> SweepResults:
    """Trials that finished, were stopped, failed, and are under way; every third finished."""
    document = parse_document(text, name="made.yaml")
    spec = build_spec(document)
    storage = open_storage(str(folder)).child(spec.name)
    storage.put(SPEC, text.encode())
    records = [made_record(i, goal=spec.metric.name) for i in range(1, num_trials + 1)]
    save(storage, records)
    if pictures:
        for record in records:
            if record.state == "FINISHED":
                storage.put(record.picture_key, comparison(record.number))
    write_summary(storage, spec, records)
    return open_sweep(storage)


def save(storage: Storage, records: list[TrialRecord]) -> None:
    for record in records:
        Ledger(storage).save(record)


def made_record(number: int, *, goal: str = "val_psnr_db") -> TrialRecord:
    layer = ("continuous", "fourier")[number % 2]
    width = 8 + number % 8 * 7
    parameters = {
        "network.layer_type": layer,
        "network.num_nodes": 2 + number % 3 if layer == "continuous" else 5 + number % 20,
        "network.hidden.width": width,
        "training.optimizer.lr": 1e-4 * 1.2 ** (number % 38),
        **({"network.input.segments": 8 + number} if layer == "continuous" else {}),
    }
    state, epochs, reason = [
        ("PRUNED", 3, f"epoch 3: {goal} is not among the best 2 of {number} trials there"),
        ("FINISHED", 27, f"best {goal} at epoch 27 of 27"),
        ("PRUNED", 9, f"epoch 9: {goal} is not among the best 1 of {number} trials there"),
    ][number % 3]  # fmt: skip
    if number % 11 == 0:
        state, epochs, reason = "FAILED", 0, "val_loss became nan in epoch 1"
    top = 18 + width / 8 + (3 if layer == "continuous" else 0)
    curve = tuple(
        {
            "epoch": float(e),
            "val_psnr_db": top - 9 / e - 0.001 * number,
            "val_ssim": 1 - 0.6 / math.sqrt(e),
            "train_time_s": 0.1 * e,
        }
        for e in range(1, epochs + 1)
    )
    return TrialRecord(
        trial=f"t{number:04d}",
        number=number,
        parameters=parameters,
        state=state,
        reason=reason,
        attempt=1,
        num_parameters=width * 150,
        curve=curve,
        best=best_row(curve, metric=MetricSpec(name="val_psnr_db", goal="maximize")),
        created_at=f"2026-01-02T10:{number % 60:02d}:00.000+00:00",
        started_at=f"2026-01-02T10:{number % 60:02d}:01.000+00:00",
        ended_at=f"2026-01-02T10:{number % 60:02d}:{5 + epochs:02d}.000+00:00",
        error="Traceback\nDivergedError: nan" if state == "FAILED" else None,
        model=f"models/t{number:04d}" if state == "FINISHED" else None,
    )


def comparison(number: int, *, side: int = 24) -> bytes:
    """As the image task leaves it: original, a fit that differs from trial to trial, and their difference."""
    astronaut = skimage.data.astronaut()  # type: ignore[no-untyped-call]
    original = np.array(Image.fromarray(astronaut).resize((side, side))).astype(int)
    noise = np.random.default_rng(number).integers(-20, 20, original.shape)
    fit = np.clip(original + noise, 0, 255)
    gap = np.full((side, 4, 3), 255)
    error = np.clip(abs(fit - original) * 4, 0, 255)
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate([original, gap, fit, gap, error], axis=1).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
