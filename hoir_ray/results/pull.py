"""Download of a model pack from a sweep's storage, its hashes checked."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hoir_ray.errors import RequestError
from hoir_ray.machine.files import try_destination
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.sweep_results import SweepResults


def pull(sweep: SweepResults, *, to: Path, trial: str | None = None) -> TrialRecord:
    """Bring a model pack into the folder `to`; the best one unless `trial` names another.

    The folder appears whole, its hashes checked, or not at all.

    Raises:
        RequestError: If there is no such pack, or `to` is already in use.
    """
    if trial is not None:
        record = sweep.trial(trial)
    else:
        leaders = sweep.leaderboard()
        if not leaders:
            raise RequestError(f"sweep '{sweep.spec.name}' has no finished trial yet, so there is no model to pull")
        record = leaders[0]
    if record.model is None:
        why = f"it is {record.state} ({record.reason or 'no reason'})"
        raise RequestError(f"trial '{record.trial}' left no model: {why}")
    try_destination(to, is_folder=True, source="--to")
    to.parent.mkdir(parents=True, exist_ok=True)
    temp = Path(tempfile.mkdtemp(dir=to.parent, prefix=f".{to.name}-"))
    try:
        sweep.storage.get_folder(record.model, temp)
        temp.chmod(0o755)
        temp.replace(to)
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    return record
