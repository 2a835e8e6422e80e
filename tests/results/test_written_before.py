"""A sweep that version 031dde0 wrote, its driver killed while two trials ran, opens as it is."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hoir_ray.remote.jobs import SweepJob, open_results
from hoir_ray.results.sweep_results import SweepResults, open_sweep

WRITTEN = Path(__file__).parent / "written_by_031dde0"
STATES = {"t0001": "PRUNED", "t0002": "FINISHED", "t0006": "RUNNING", "t0007": "PRUNED", "t0008": "RUNNING"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with the sweep under ./hoir-runs."""
    shutil.copytree(WRITTEN, tmp_path / "hoir-runs" / "before")
    return tmp_path


def test_trials_best_and_explain_read_it(hoir: Any, folder: Path) -> None:
    listed = {row["trial"]: row for row in json.loads(hoir("trials", "before", "--json").out)}
    assert {name: listed[name]["state"] for name in STATES} == STATES
    assert listed["t0002"]["parameter.network.layer_type"] == "fourier"
    best = json.loads(hoir("best", "before", "--json").out)
    assert [row["trial"] for row in best] == ["t0002"]
    assert (
        best[0]["metric.val_psnr_db"]
        == json.loads((WRITTEN / "best.json").read_text())["best"]["metrics"]["val_psnr_db"]
    )
    assert "attempt 1 started" in hoir("explain", "before", "t0006").out


def test_counts_under_their_former_names_are_read(folder: Path) -> None:
    path = folder / "hoir-runs/before/ledger/t0008.json"
    record = json.loads(path.read_text())
    assert record["charged"] == record["losses"] == 0
    path.write_text(json.dumps({**record, "charged": 1, "losses": 2, "attempt": 4}))
    found = open_sweep(str(folder / "hoir-runs/before")).trial("t0008")
    assert (found.num_failures, found.num_preemptions) == (1, 2)


def test_a_cluster_lists_it(folder: Path) -> None:
    values = dict.fromkeys((f.name for f in dataclasses.fields(SweepJob)), "")
    job = SweepJob(**{**values, "sweep": "before", "storage": str(folder / "hoir-runs"), "endpoint_url": None})  # type: ignore[arg-type]
    (opened,) = open_results([job])
    assert isinstance(opened, SweepResults)
    assert {r.trial: r.state for r in opened.records if r.trial in STATES} == STATES


def test_it_is_reported(hoir: Any, folder: Path) -> None:
    assert hoir("report", "before", "--out", "report.html").code == 0
    page = (folder / "report.html").read_text()
    assert "t0002" in page
    assert "data:image/webp" in page


def test_its_pack_is_pulled_drawn_and_measured(hoir: Any, folder: Path) -> None:
    assert hoir("pull", "before", "--to", "pack").code == 0
    assert hoir("render", "pack", "--size", "20x10", "--out", "drawn.png").code == 0
    assert (folder / "drawn.png").stat().st_size
    measured = json.loads(hoir("evaluate", "pack", "--json").out)
    written = json.loads((WRITTEN / "models/t0002/metrics.json").read_text())
    assert measured["val_psnr_db"] == pytest.approx(written["val_psnr_db"], abs=1e-4)


@pytest.mark.slow
def test_it_resumes(folder: Path) -> None:
    command = [sys.executable, "-m", "hoir_ray", "sweep", "hoir-runs/before/spec.yaml"]
    outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert outcome.returncode == 0, outcome.stderr
    records = {r.trial: r for r in open_sweep(str(folder / "hoir-runs/before")).records}
    assert len(records) == 9
    assert all(r.ended for r in records.values())
    before = json.loads((WRITTEN / "ledger/t0002.json").read_text())
    assert records["t0002"].attempt == before["attempt"]
    assert [row["val_psnr_db"] for row in records["t0002"].curve] == [row["val_psnr_db"] for row in before["curve"]]
    assert records["t0006"].attempt == 2
    assert records["t0006"].curve[0]["val_psnr_db"] == pytest.approx(9.9966, abs=0.01)
