"""Summary files of a sweep: `best.json` and `trials.parquet`, written from the records."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hoir_ray.machine.files import to_json
from hoir_ray.results.front import knee, pareto_front
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.ranking import broken_constraint, nearest_miss, ranked
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.seeds import Spread, spreads, ties
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.storage import Storage

BEST = "best.json"


TABLE = "trials.parquet"


CODECS = "codecs.json"  # curves of other codecs for the sweep's picture, where its networks are kept as files


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
    miss = nearest_miss(records, spec=spec) if not leaders else None
    bend = knee(front, metrics=spec.metrics)
    seeds = {m.name: spreads(records, metric=m.name) for m in spec.metrics}
    summary = {
        "sweep": spec.name,
        "metrics": [m.model_dump() for m in spec.metrics],
        "best": _leader(leaders[0], seeds) if leaders else None,
        "nearest_miss": _leader(miss, seeds) if miss else None,
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


def _leader(record: TrialRecord, seeds: Mapping[str, Mapping[str, Spread]]) -> dict[str, Any]:
    metrics = {k: v for k, v in metrics_of(record).items() if v == v}
    leader = {"trial": record.trial, "model": record.model, "parameters": record.parameters, "metrics": metrics}
    over_seeds = {
        name: {"mean": s.mean, "deviation": s.deviation if s.num_seeds > 1 else None, "num_seeds": s.num_seeds}
        for name, known in seeds.items()
        if (s := known.get(record.trial)) is not None
    }
    return {**leader, "over_seeds": over_seeds} if over_seeds else leader
