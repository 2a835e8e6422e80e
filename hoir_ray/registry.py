"""What a sweep left behind: its trials as a table, the best, the Pareto front, and model packs to pull."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoir_ray.config import nearest
from hoir_ray.document import parse_document
from hoir_ray.errors import RequestError
from hoir_ray.expression import Condition
from hoir_ray.ledger import Ledger, TrialRecord, better, to_json
from hoir_ray.spec import MetricSpec, SweepSpec, build_spec
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
        """Trials that trained to their end, best first, those that meet `where`."""
        return ranked(self.records, metric=self.spec.metric, where=where)

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


def ranked(records: Iterable[TrialRecord], *, metric: MetricSpec, where: Condition | None = None) -> list[TrialRecord]:
    """Finished trials, best first by the best epoch's `metric`; equals in the order they were created."""
    finished = [r for r in records if r.state == "FINISHED" and r.best is not None and metric.name in r.best]
    if where is not None:
        finished = [r for r in finished if where.holds(_metrics(r))]
    sign = -1.0 if metric.goal == "maximize" else 1.0
    return sorted(finished, key=lambda r: (sign * _metrics(r)[metric.name], r.number))


def pareto_front(records: Iterable[TrialRecord], *, metrics: Sequence[MetricSpec]) -> list[TrialRecord]:
    """Finished trials that no other one beats in one metric without being beaten in another, best first."""
    names = [m.name for m in metrics]
    candidates = [r for r in ranked(records, metric=metrics[0]) if all(n in _metrics(r) for n in names)]

    def dominates(a: TrialRecord, b: TrialRecord) -> bool:
        pairs = [(_metrics(a)[m.name], _metrics(b)[m.name], m.goal) for m in metrics]
        return all(not better(y, x, goal=g) for x, y, g in pairs) and any(better(x, y, goal=g) for x, y, g in pairs)

    return [r for r in candidates if not any(dominates(other, r) for other in candidates)]


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
            "node": r.node,
            "created_at": r.created_at,
            "started_at": r.started_at,
            "ended_at": r.ended_at,
            "model": r.model,
            **{f"parameter.{k}": v for k, v in r.parameters.items()},
            **{f"metric.{k}": v for k, v in _metrics(r).items() if k != "epoch"},
        }
        for r in records
    ]


def write_summary(storage: Storage, spec: SweepSpec, records: Sequence[TrialRecord]) -> None:
    """Write `best.json` and `trials.parquet` from the records."""
    import pandas as pd

    leaders = ranked(records, metric=spec.metric)
    front = pareto_front(records, metrics=spec.metrics)
    summary = {
        "sweep": spec.name,
        "metrics": [m.model_dump() for m in spec.metrics],
        "best": _leader(leaders[0]) if leaders else None,
        "pareto": [_leader(r) for r in front] if len(spec.metrics) > 1 else [],
        "num_trials": len(records),
        "num_finished": len(leaders),
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


def _metrics(record: TrialRecord) -> dict[str, float]:
    extra = {"num_parameters": float(record.num_parameters)} if record.num_parameters is not None else {}
    return {**extra, **(record.best or {})}


def _leader(record: TrialRecord) -> dict[str, Any]:
    metrics = {k: v for k, v in _metrics(record).items() if v == v}
    return {"trial": record.trial, "model": record.model, "parameters": record.parameters, "metrics": metrics}


def _sweeps_nearby(storage: Storage) -> str:
    if storage.uri.startswith("s3://"):
        return ""
    parent, name = Path(storage.uri).parent, Path(storage.uri).name
    known = sorted(p.parent.name for p in parent.glob(f"*/{SPEC}")) if parent.is_dir() else []
    if not known:
        return ""
    return f".{nearest(name, known)} Sweeps in {parent}: {', '.join(known[:10])}"
