"""A sweep as it lies in storage: its spec, its trials, its leaderboard and its front."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from hoir_ray import __version__
from hoir_ray.config import nearest
from hoir_ray.errors import RequestError, SpecError
from hoir_ray.results.front import pareto_front
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.ranking import ranked
from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.conditions import Condition, parse_condition
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.storage import MissingObjectError, Storage, open_storage

SPEC = "spec.yaml"


@dataclass(frozen=True)
class SweepResults:
    """A sweep in storage: its resolved spec and its trials by number."""

    storage: Storage
    spec: SweepSpec
    records: tuple[TrialRecord, ...]

    @property
    def version(self) -> str:
        """A word that changes whenever a trial has."""
        states = [[r.trial, r.state, r.epochs, r.attempt, r.model] for r in self.records]
        return hashlib.sha256(json.dumps(states).encode()).hexdigest()[:16]

    def leaderboard(self, where: Condition | None = None) -> list[TrialRecord]:
        """Trials that trained to their end and break no constraint, best first, those that meet `where`."""
        return ranked(self.records, spec=self.spec, where=where)

    def front(self, where: Condition | None = None) -> list[TrialRecord]:
        """Finished trials that no other one beats in every metric, best first."""
        return pareto_front(self.leaderboard(where), metrics=self.spec.metrics)

    def condition(self, text: str | None) -> Condition | None:
        """A condition on the metrics that these trials have; None for None.

        Raises:
            RequestError: Pointing at what is not understood, or naming the nearest metric.
        """
        if text is None:
            return None
        known = frozenset(name for r in self.records for name in metrics_of(r))
        return parse_condition(text, known=known or None)

    def trial(self, name: str) -> TrialRecord:
        """The trial of that name.

        Raises:
            RequestError: If there is none, naming the nearest.
        """
        for record in self.records:
            if record.trial == name:
                return record
        known = [r.trial for r in self.records]
        raise RequestError(f"sweep '{self.spec.name}' has no trial '{name}'.{nearest(name, known)}")


def locate_sweep(where: str, *, endpoint_url: str | None = None) -> Storage:
    """The storage of a sweep given as a name under ./hoir-runs, a folder, or an `s3://` URI."""
    if "/" not in where and "\\" not in where and not Path(where, SPEC).exists():
        return open_storage("hoir-runs", endpoint_url=endpoint_url).child(where)
    return open_storage(where.rstrip("/"), endpoint_url=endpoint_url)


def open_sweep(where: str | Storage, *, endpoint_url: str | None = None) -> SweepResults:
    """Read a sweep's spec and ledger.

    Raises:
        RequestError: If there is no sweep there.
    """
    storage = locate_sweep(where, endpoint_url=endpoint_url) if isinstance(where, str) else where
    spec = read_spec(storage)
    if spec is None:
        raise RequestError(f"no sweep at {storage.uri}: it has no {SPEC}{_sweeps_nearby(storage)}")
    return SweepResults(storage, spec, tuple(Ledger(storage).load()))


def read_spec(storage: Storage) -> SweepSpec | None:
    """The resolved spec that a sweep left in its storage, or None where there is no sweep."""
    try:
        text = storage.get(SPEC).decode()
    except MissingObjectError:
        return None
    document = parse_document(text, name=f"{storage.uri}/{SPEC}")
    try:
        return build_spec(document).model_copy(update=_name_of(storage))
    except SpecError as error:
        provenance = document.data.get("provenance")
        writer = provenance.get("hoir-ray") if isinstance(provenance, dict) else None
        if writer in (None, __version__):
            raise
        raise SpecError(f"{error}\n  it was written by hoir_ray {writer}, this is {__version__}") from None


def _name_of(storage: Storage) -> dict[str, str]:
    """The name that the sweep is opened under: a folder that was copied or renamed is a sweep of its new name."""
    name = storage.uri.rstrip("/").rpartition("/")[2]
    return {"name": name} if name else {}


def _sweeps_nearby(storage: Storage) -> str:
    if storage.folder is None:
        return ""
    parent, name = storage.folder.parent, storage.folder.name
    known = sorted(p.parent.name for p in parent.glob(f"*/{SPEC}")) if parent.is_dir() else []
    if not known:
        return ""
    return f".{nearest(name, known)} Sweeps in {parent}: {', '.join(known[:10])}"
