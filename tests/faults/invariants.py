"""Invariants that must hold after every fault."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from hoir_ray.results.ranking import ranked
from hoir_ray.results.record import ENDED, TrialRecord
from hoir_ray.results.summary import BEST
from hoir_ray.search.optuna_searcher import OptunaSearcher
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.storage import Storage
from hoir_ray.storage.s3 import S3Backend
from hoir_ray.sweep.finish import unreferenced
from hoir_ray.sweep.planning.plan import plan_sweep
from tests.faults.sweeps import Sweep
from tests.servers.wandb_backend import WandbBackend

FAILED = ("FAILED", "TIMEOUT", "OOM")


def check_invariants(
    sweep: Sweep,
    *,
    num_trials: int,
    exit_code: int,
    secrets: Iterable[str] = (),
    backend: WandbBackend | None = None,
) -> dict[str, TrialRecord]:
    """All eight of them; returns the trials by name."""
    opened = sweep.opened()
    records = {r.trial: r for r in opened.records}
    assert [r.number for r in opened.records] == list(range(1, num_trials + 1)), sweep.log
    for record in opened.records:
        _check_ended_once(record)
        _check_curve(record)
    _check_best(opened.storage, opened.records, sweep=sweep)
    _check_objects(opened.storage, records, metric=opened.spec.epoch_metric)
    searcher = OptunaSearcher(opened.spec, plan_sweep(opened.spec).space, records=opened.records)
    states = Counter(t.state.name for t in searcher.trials)
    told = sum(r.state in ("FINISHED", "PRUNED") for r in opened.records)
    assert (sum(states.values()), states["RUNNING"]) == (told, 0)
    assert exit_code == expected_exit_code(opened.records), sweep.log
    _check_secrets(opened.storage, sweep, secrets=secrets, backend=backend)
    assert sweep.left_behind() == []
    return records


def expected_exit_code(records: Iterable[TrialRecord]) -> int:
    states = [r.state for r in records]
    if "FINISHED" not in states:
        return 1
    return 3 if any(s in FAILED for s in states) else 0


def _check_ended_once(record: TrialRecord) -> None:
    assert record.state in ENDED, record
    assert record.reason
    assert record.ended_at
    ends = [line for line in record.history if line.split(" ", 1)[1].startswith(f"{record.state.lower()}: ")]
    assert len(ends) == 1, record.history


def _check_curve(record: TrialRecord) -> None:
    epochs = [row["epoch"] for row in record.curve]
    assert epochs == list(range(1, len(epochs) + 1)), (record.trial, epochs)
    if record.state == "FINISHED":
        assert epochs, record


def _check_best(storage: Storage, records: Iterable[TrialRecord], *, sweep: Sweep) -> None:
    best = json.loads(storage.get(BEST))["best"]
    leaders = ranked(records, spec=sweep.opened().spec)
    assert (best or {}).get("trial") == (leaders[0].trial if leaders else None)
    for record in leaders:
        if record.model is None:
            continue  # not among the packs that are kept
        with tempfile.TemporaryDirectory() as folder:
            storage.get_folder(record.model, Path(folder))  # compares every hash
            metrics = json.loads((Path(folder) / "metrics.json").read_text())
        assert record.best is not None
        assert metrics["val_psnr_db"] == record.best["val_psnr_db"], record.trial


def _check_objects(storage: Storage, records: Mapping[str, TrialRecord], *, metric: MetricSpec) -> None:
    assert unreferenced(storage.list("trials") + storage.list("models"), records, metric=metric) == []
    backend = storage.backend
    if isinstance(backend, S3Backend):
        answer = backend._client.list_multipart_uploads(Bucket=backend.bucket)
        assert not answer.get("Uploads")


def _check_secrets(storage: Storage, sweep: Sweep, *, secrets: Iterable[str], backend: WandbBackend | None) -> None:
    places = {o.key: storage.get(o.key) for o in storage.list()}
    places |= {str(p): p.read_bytes() for p in sweep.folder.rglob("*") if p.is_file()}
    for name, run in (backend.runs if backend else {}).items():
        places[name] = repr(run).encode()
    for secret in secrets:
        found = [name for name, data in places.items() if secret.encode() in data]
        assert found == [], secret
