"""Objects removed from storage at a sweep's end, and limits of memory."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.storage import StoredObject
from hoir_ray.sweep.finish import MAX_CONTINUED, unreferenced

CHECKPOINT = ("last.ckpt", "curve.json", "manifest.json")


def record(number: int, state: str, *, model: bool = False) -> TrialRecord:
    name = f"t{number}"
    return TrialRecord.model_validate(
        {
            "trial": name,
            "number": number,
            "parameters": {},
            "state": state,
            "model": f"models/{name}-0a" if model else None,
            "picture": f"trials/{name}/render-0a.png" if model else None,
        }
    )


def listed(*keys: str) -> list[StoredObject]:
    return [StoredObject(key=k, size_bytes=1, modified=datetime.now(UTC), etag=None) for k in keys]


def test_only_what_no_trial_needs_is_removed():
    records = {r.trial: r for r in (record(1, "FINISHED", model=True), record(2, "PRUNED"), record(3, "PENDING"))}
    needed = [
        "models/t1-0a/manifest.json",
        "models/t3/model.safetensors",  # may be half of what is written again
        "trials/t1/render-0a.png",
        *(f"trials/t1/checkpoints/a002-e0000003/{f}" for f in CHECKPOINT),
        *(f"trials/t3/checkpoints/a001-e0000001/{f}" for f in CHECKPOINT),
    ]
    useless = [
        "models/t2/manifest.json",
        "trials/t1/render-0b.png",  # of an attempt that was given up, and published after all
        "trials/t2/render-0c.png",
        "models/t9/manifest.json",
        *(f"trials/t1/checkpoints/a001-e0000009/{f}" for f in CHECKPOINT),
        "trials/t1/checkpoints/a003-e0000004/last.ckpt",  # no manifest: it was never complete
        *(f"trials/t2/checkpoints/a001-e0000001/{f}" for f in CHECKPOINT),
        "trials/t9/render.png",
    ]
    metric = MetricSpec(name="val_loss")
    assert sorted(unreferenced(listed(*needed, *useless), records, metric=metric)) == sorted(useless)


def test_of_stopped_trials_the_few_most_likely_to_be_taken_up_again_keep_their_newest_checkpoint():
    count, metric = MAX_CONTINUED + 2, MetricSpec(name="val_psnr_db", goal="maximize")

    def stopped(number: int) -> TrialRecord:
        row = {"epoch": 9.0, "val_psnr_db": 20.0 + number}
        return record(number, "PRUNED").change(curve=(row,), best=row)

    records = {r.trial: r for r in map(stopped, range(count))}
    near = {"epoch": 3.0, "val_psnr_db": 90.0}
    records["t0"] = records["t0"].change(curve=(near,), best=near)  # not so far, whatever it had there
    keys = [f"trials/{t}/checkpoints/a001-e{e:07d}/{f}" for t in records for e in (8, 9) for f in CHECKPOINT]
    kept = {k for k in keys if k not in unreferenced(listed(*keys), records, metric=metric)}
    best = [f"t{n}" for n in range(2, count)]
    assert kept == {f"trials/{t}/checkpoints/a001-e0000009/{f}" for t in best for f in CHECKPOINT}


LIMITED = """
import torch
from hoir_ray.trials.memory_limit import is_out_of_memory, memory_limit

with memory_limit(200 * 2**20):
    torch.ones(100 * 2**20, dtype=torch.uint8)
    for allocate in (lambda: torch.ones(400 * 2**20, dtype=torch.uint8), lambda: bytearray(400 * 2**20)):
        try:
            allocate()
        except Exception as error:
            assert is_out_of_memory(error), error
        else:
            raise SystemExit("it was not refused")
assert torch.ones(400 * 2**20, dtype=torch.uint8).numel() == 400 * 2**20
assert not is_out_of_memory(ValueError("no"))
"""


def test_memory_beyond_the_limit_is_refused_and_given_afterwards():
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
