"""What a sweep left behind: its trials as a table, the best, the Pareto front, and model packs to pull."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoir_ray.config import nearest
from hoir_ray.document import parse_document
from hoir_ray.errors import RequestError
from hoir_ray.expression import Condition, parse_condition
from hoir_ray.ledger import Ledger, TrialRecord, to_json
from hoir_ray.ranking import Spread, broken_constraint, knee, metrics_of, pareto_front, ranked, spreads, ties
from hoir_ray.spec import SweepSpec, build_spec
from hoir_ray.storage import MissingObjectError, Storage, open_storage

SPEC = "spec.yaml"
BEST = "best.json"
TABLE = "trials.parquet"


@dataclass(frozen=True)
class OpenedSweep:
    """A sweep in storage: its resolved spec and its trials by number."""

    storage: Storage
    spec: SweepSpec
    records: tuple[TrialRecord, ...]

    def finished(self, where: Condition | None = None) -> list[TrialRecord]:
        """Trials that trained to their end and break no constraint, best first, those that meet `where`."""
        return ranked(self.records, spec=self.spec, where=where)

    def front(self, where: Condition | None = None) -> list[TrialRecord]:
        """Finished trials that no other one beats in every metric, best first."""
        return pareto_front(self.finished(where), metrics=self.spec.metrics)

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


def open_sweep(where: str | Storage, *, endpoint_url: str | None = None) -> OpenedSweep:
    """Read a sweep's spec and ledger.

    Raises:
        RequestError: If there is no sweep there.
    """
    storage = locate_sweep(where, endpoint_url=endpoint_url) if isinstance(where, str) else where
    spec = read_spec(storage)
    if spec is None:
        raise RequestError(f"no sweep at {storage.uri}: it has no {SPEC}{_sweeps_nearby(storage)}")
    return OpenedSweep(storage, spec, tuple(Ledger(storage).load()))


def read_spec(storage: Storage) -> SweepSpec | None:
    """The resolved spec that a sweep left in its storage, or None where there is no sweep."""
    try:
        text = storage.get(SPEC).decode()
    except MissingObjectError:
        return None
    return build_spec(parse_document(text, name=f"{storage.uri}/{SPEC}"))


def table_rows(records: Iterable[TrialRecord]) -> list[dict[str, Any]]:
    """One flat row per trial: what it is, its parameters by path, and its best epoch's metrics."""
    return [
        {
            "trial": r.trial,
            "state": r.state,
            "reason": r.reason,
            "epochs": r.epochs,
            "best_epoch": int(r.best["epoch"]) if r.best else None,
            "attempts": r.attempt,
            "seed": r.seed,
            "replicate_of": r.replicate_of,
            "node": r.node,
            "created_at": r.created_at,
            "started_at": r.started_at,
            "ended_at": r.ended_at,
            "model": r.model,
            **{f"parameter.{k}": v for k, v in r.parameters.items()},
            **{f"metric.{k}": v for k, v in metrics_of(r).items() if k != "epoch"},
        }
        for r in records
    ]


def write_summary(storage: Storage, spec: SweepSpec, records: Sequence[TrialRecord]) -> None:
    """Write `best.json` and `trials.parquet` from the records."""
    import pandas as pd

    leaders = ranked(records, spec=spec)
    front = pareto_front(leaders, metrics=spec.metrics) if len(spec.metrics) > 1 else []
    bend = knee(front, metrics=spec.metrics)
    seeds = {m.name: spreads(records, metric=m.name) for m in spec.metrics}
    summary = {
        "sweep": spec.name,
        "metrics": [m.model_dump() for m in spec.metrics],
        "best": _leader(leaders[0], seeds) if leaders else None,
        "not_told_apart_from_best": ties(leaders, records, metric=spec.metric.name),
        "pareto": [_leader(r, seeds) for r in front],
        "knee": bend.trial if bend else None,
        "num_trials": len(records),
        "num_finished": sum(r.state == "FINISHED" for r in records),
        "infeasible": {r.trial: b for r in records if r.state == "FINISHED" and (b := broken_constraint(r, spec))},
    }
    storage.put(BEST, to_json(summary))
    rows = table_rows(records)
    if rows:
        frame = pd.DataFrame(rows)
        mixed = [c for c in frame.columns if c.startswith("parameter.") and len(set(map(type, frame[c].dropna()))) > 1]
        for column in mixed:  # a column has one type, a parameter's values may have several
            frame[column] = [None if v is None or v != v else str(v) for v in frame[column]]
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        storage.put(TABLE, buffer.getvalue())


def pull(sweep: OpenedSweep, *, to: Path, trial: str | None = None) -> TrialRecord:
    """Bring a model pack into the folder `to`; the best one unless `trial` names another.

    The folder appears whole, its hashes checked, or not at all.

    Raises:
        RequestError: If there is no such pack, or `to` is already in use.
    """
    if trial is not None:
        record = sweep.trial(trial)
    else:
        leaders = sweep.finished()
        if not leaders:
            raise RequestError(f"sweep '{sweep.spec.name}' has no finished trial yet, so there is no model to pull")
        record = leaders[0]
    if record.model is None:
        why = f"it is {record.state} ({record.reason or 'no reason'})"
        raise RequestError(f"trial '{record.trial}' left no model: {why}")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise RequestError(f"--to {to}: exists and is not an empty folder; choose another")
    to.parent.mkdir(parents=True, exist_ok=True)
    temp = Path(tempfile.mkdtemp(dir=to.parent, prefix=f".{to.name}-"))
    try:
        sweep.storage.get_folder(record.model, temp)
        temp.chmod(0o755)
        temp.replace(to)
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    return record


def _leader(record: TrialRecord, seeds: Mapping[str, Mapping[str, Spread]]) -> dict[str, Any]:
    metrics = {k: v for k, v in metrics_of(record).items() if v == v}
    leader = {"trial": record.trial, "model": record.model, "parameters": record.parameters, "metrics": metrics}
    over_seeds = {
        name: {"mean": s.mean, "deviation": s.deviation if s.num_seeds > 1 else None, "num_seeds": s.num_seeds}
        for name, known in seeds.items()
        if (s := known.get(record.trial)) is not None
    }
    return {**leader, "over_seeds": over_seeds} if over_seeds else leader


def _sweeps_nearby(storage: Storage) -> str:
    if storage.uri.startswith("s3://"):
        return ""
    parent, name = Path(storage.uri).parent, Path(storage.uri).name
    known = sorted(p.parent.name for p in parent.glob(f"*/{SPEC}")) if parent.is_dir() else []
    if not known:
        return ""
    return f".{nearest(name, known)} Sweeps in {parent}: {', '.join(known[:10])}"
