"""Download of a model pack from a sweep's storage, its hashes checked."""

from __future__ import annotations

from pathlib import Path

from hoir_ray.errors import RequestError
from hoir_ray.machine.files import try_destination
from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.storage import MissingObjectError

SUFFIX = ".hoir"
STORED = f"network{SUFFIX}"  # below a model pack's key, where a trial's stored form was made


def pull(sweep: SweepResults, *, to: Path, trial: str | None = None) -> TrialRecord:
    """Bring a model pack into the folder `to`; the best one unless `trial` names another.

    The folder appears whole, its hashes checked, or not at all. A name that ends in `.hoir` brings the one small file
    of the trial's stored form, whose checksum is its own.

    Raises:
        RequestError: If there is no such pack, or `to` is already in use.
    """
    record = _with_model(sweep, trial)
    assert record.model is not None
    if to.suffix == SUFFIX:
        _pull_file(sweep, record, to=to)
        return record
    try_destination(to, is_folder=True, source="--to")
    to.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder("pull", within=to.parent) as temp:
        sweep.storage.get_folder(record.model, temp)
        temp.chmod(0o755)
        temp.replace(to)
    return record


def _with_model(sweep: SweepResults, trial: str | None) -> TrialRecord:
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
    return record


def _pull_file(sweep: SweepResults, record: TrialRecord, *, to: Path) -> None:
    if to.exists():
        raise RequestError(f"--to {to}: exists; choose another")
    try:
        sweep.storage.get_file(f"{record.model}/{STORED}", to)
    except MissingObjectError:
        raise RequestError(
            f"trial '{record.trial}' has no stored form, for the sweep asks for none of its metrics; "
            f"pull its folder, and 'hoir pack' makes the file"
        ) from None
