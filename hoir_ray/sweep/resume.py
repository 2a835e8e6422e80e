"""Resuming a sweep: the spec that is kept in its storage, and refusal of another spec under the same name."""

from __future__ import annotations

import importlib.metadata
import logging
import math
import os
import platform
import subprocess
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import hoir_ray
from hoir_ray.config import shorten
from hoir_ray.errors import RequestError
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.early_terminate import AshaSpec, ForecastSpec
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.storage import Storage
from hoir_ray.sweep.driving.promotion import promoted_by_hand
from hoir_ray.tasks.contents import by_content
from hoir_ray.trials.checkpoints import newest_checkpoints

# Parts of a spec that may differ when a sweep resumes: they change how much is done and where, not what is searched.
CHANGEABLE = frozenset(
    {
        "budget",
        "resources",
        "failures",
        "trackers",
        "storage",
        "provenance",
        "replicate_top",
        "inputs",
        "contents",
        "notify",
    }
)


_log = logging.getLogger(__name__)
COMMIT = "HOIR_COMMIT"  # names the commit of code that is run away from its repository


def refuse_other_spec(before: SweepSpec, after: SweepSpec, *, where: str) -> None:
    """Only budget, resources and the like may change under a sweep's name.

    Raises:
        RequestError: Showing each difference.
    """
    if _first_rung(before) is not None:
        after = with_first_rung(after, before=before, max_epochs=1)
    old, new = (s.model_dump(mode="json", exclude=set(CHANGEABLE)) for s in (before, after))
    # Data is the same where its content is, wherever it lies.
    known = {**before.contents, **(after.contents if before.contents else {})}
    changed = [p for p, content in before.contents.items() if known[p] != content]
    differences = [f"  data: {path} has another content than when the sweep began" for path in changed]
    differences += [
        f"  {line}"
        for key in old
        if old[key] != new[key] and by_content(old[key], before.contents) != by_content(new[key], known)
        for line in _differences(old[key], new[key], key)
    ]
    differences += [
        f"  data: {path} has another content than when the sweep began"
        for path, key in before.inputs.items()
        if after.inputs.get(path, key) != key and path not in changed
    ]
    if differences:
        raise RequestError(
            f"name: {where} already holds a sweep '{before.name}' with another spec; give this one another name\n"
            + "\n".join(differences)
        )


def with_first_rung(spec: SweepSpec, *, before: SweepSpec | None, max_epochs: int) -> SweepSpec:
    """The spec with the epoch at which trials are first stopped, where it leaves that open.

    Args:
        before: The spec that the sweep began with; its first rung stays, whatever the default is by now.
        max_epochs: Of the longest trial.
    """
    known = _first_rung(before) if before is not None else None
    rule = spec.early_terminate
    if not isinstance(rule, (AshaSpec, ForecastSpec)) or rule.min_iter is not None:
        return spec
    rule = rule.model_copy(update={"min_iter": known or math.ceil(max_epochs / 3)})
    return spec.model_copy(update={"early_terminate": rule})


def promoted(
    records: Sequence[TrialRecord], names: Collection[str], *, storage: Storage
) -> tuple[list[TrialRecord], Collection[str]]:
    """Take the trials of `names` up again, in the ledger too; also returns all that have a checkpoint in storage.

    Raises:
        RequestError: With a line for each one that cannot be.
    """
    if not names and all(r.state != "PRUNED" for r in records):
        return list(records), ()
    checkpoints = newest_checkpoints(storage)
    changed = promoted_by_hand({r.trial: r for r in records}, names, checkpoints=checkpoints)
    for record in changed.values():
        Ledger(storage).save(record)
    return [changed.get(r.trial, r) for r in records], checkpoints.keys()


def _first_rung(spec: SweepSpec) -> int | None:
    rule = spec.early_terminate
    return rule.min_iter if isinstance(rule, (AshaSpec, ForecastSpec)) else None


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """A line for each smallest part that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, after, path if len(old) == 1 else f"{path}.{number}")
    elif old != new:
        was, now = ("not there" if v is None else shorten(v) for v in (old, new))
        yield f"{path}: was {was}, is {now}"


def resolved(spec: SweepSpec, *, notes: Sequence[str] = ()) -> dict[str, Any]:
    """The spec with defaults filled in and the versions that ran it, ready to be written as YAML and run again.

    Args:
        notes: What was taken as data.
    """
    data = spec.model_dump(mode="json", exclude_none=True, exclude={"parameters", "provenance", "replicate_top"})
    for name in ("inputs", "contents", "notify"):
        if not data[name]:
            del data[name]
    data["parameters"] = {
        path: [c.model_dump(mode="json", exclude_unset=True) for c in cases]
        if len(cases) > 1
        else cases[0].model_dump(mode="json", exclude_unset=True)
        for path, cases in spec.parameters.items()
    }
    data["provenance"] = _provenance() | ({"data": "; ".join(notes)} if notes else {})
    return data


def _provenance() -> dict[str, str]:
    versions = {"hoir-ray": hoir_ray.__version__, "python": platform.python_version()}
    for package in ("torch", "lightning", "ray", "optuna"):
        versions[package] = importlib.metadata.version(package)
    try:
        command = ["git", "-C", str(Path(hoir_ray.__file__).parent), "rev-parse", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
        found = commit.stdout.strip() if commit.returncode == 0 else ""
    except (OSError, subprocess.SubprocessError) as error:
        _log.debug("no commit: %s", error)
        found = ""
    # Code that was shipped to a cluster left its repository behind.
    if commit_of := found or os.environ.get(COMMIT, ""):
        versions["commit"] = commit_of
    return versions
