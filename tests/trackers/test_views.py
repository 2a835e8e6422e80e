"""A sweep's view and report, sent by the real packages to a backend on loopback and read there panel by panel."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from hoir_ray.results.record import TrialRecord
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.spec.space import build_space
from hoir_ray.storage import Storage, open_storage
from hoir_ray.sweep.views import NoViews, views_of
from hoir_ray.sweep.wandb_views import KEPT, WandbViews, contents
from hoir_ray.tasks import load_task
from hoir_ray.trackers.wandb import access, view_program, views
from hoir_ray.trackers.wandb.view_program import Request, _cell
from tests.servers.wandb_backend import KEY, View, WandbBackend

TEXT = """
name: newt
task: image
data: {image: newt.png}
metrics: [{name: val_psnr_db, goal: maximize}]
parameters:
  network.hidden.width: {values: [8, 16, 32]}
  network.hidden.num_layers: {value: 2}
  training.optimizer.lr: {min: 1e-4, max: 1e-2, distribution: log_uniform_values}
budget: {max_trials: 4}
trackers: {wandb: {project: p, finish_timeout_s: 60}}
"""
UPSERTS = ("UpsertView2", "upsertView")


@pytest.fixture(autouse=True)
def _fresh_process(wandb_backend: WandbBackend) -> Iterator[None]:
    access.forget()
    yield
    access.forget()


def spec_of(text: str = TEXT) -> SweepSpec:
    return build_spec(parse_document(text, name="sweep.yaml"))


def sweep_views(folder: Path, said: list[str] | None = None, *, spec: SweepSpec | None = None) -> WandbViews:
    spec = spec or spec_of()
    task = load_task(spec.task)
    found = views_of(
        spec,
        storage_of(folder),
        space=build_space(spec, task.config),
        pictures=task.picture_names,
        say=(said if said is not None else []).append,
    )
    assert isinstance(found, WandbViews)
    return found


def storage_of(folder: Path) -> Storage:
    return open_storage(str(folder))


def trial(number: int, *, psnr: float, size: int, width: int) -> TrialRecord:
    return TrialRecord(
        trial=f"t{number:04}",
        number=number,
        state="FINISHED",
        parameters={"network.hidden.width": width, "training.optimizer.lr": 0.001},
        seed=0,
        num_parameters=size,
        best={"epoch": 3, "val_psnr_db": psnr},
    )


RECORDS = [
    trial(1, psnr=30.0, size=900, width=16),
    trial(2, psnr=25.0, size=300, width=8),
    trial(3, psnr=24.0, size=901, width=32),
]


def run(folder: Path, said: list[str] | None = None, *, spec: SweepSpec | None = None) -> None:
    """A sweep's start and end."""
    made = sweep_views(folder, said, spec=spec)
    made.start()
    made.finish(RECORDS)
    made.close()


def of_type(backend: WandbBackend, kind: str) -> View:
    (found,) = [view for view in backend.views.values() if view.type == kind]
    return found


def sections_of(view: View) -> dict[str, list[dict[str, Any]]]:
    return {s["name"]: s["panels"] for s in view.spec["section"]["panelBankConfig"]["sections"]}


def test_view_holds_every_panel_that_the_docs_list(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    said: list[str] = []
    run(tmp_path, said)
    view = of_type(wandb_backend, "project-view")
    assert (view.entity, view.project, view.display_name) == ("hoir", "p", "newt")
    sections = sections_of(view)
    assert list(sections) == ["Curves", "Settings", "Size against quality", "Pictures", "Trials"]
    curves = [(p["viewType"], p["config"]["xAxis"], p["config"]["metrics"]) for p in sections["Curves"]]
    assert curves == [
        ("Run History Line Plot", "epoch", ["val_psnr_db"]),
        ("Run History Line Plot", "epoch", ["train_loss"]),
    ]
    (parallel,) = sections["Settings"]
    assert parallel["viewType"] == "Parallel Coordinates Plot"
    assert [(c["accessor"], c.get("log")) for c in parallel["config"]["columns"]] == [
        ("config:network.value.hidden.width", None),
        ("config:training.value.optimizer.lr", True),
        ("summary:val_psnr_db", None),
    ]
    (scatter,) = sections["Size against quality"]
    assert scatter["viewType"] == "Scatter Plot"
    assert (scatter["config"]["xAxis"], scatter["config"]["yAxis"]) == ("summary:num_parameters", "summary:val_psnr_db")
    assert scatter["config"]["xAxisLogScale"] is True
    assert [(p["viewType"], p["config"]["mediaKeys"]) for p in sections["Pictures"]] == [
        ("Media Browser", ["pictures/preview"]),
        ("Media Browser", ["pictures/comparison"]),
    ]
    (table,) = sections["Trials"]
    assert table["viewType"] == "Weave"
    assert '"trials"' in str(table["config"]).replace("'", '"')
    (runset,) = view.spec["section"]["runSets"]
    assert "group" in str(runset["filters"])
    assert "newt" in str(runset["filters"])
    assert runset["sort"]["keys"][0] == {"key": {"section": "summary", "name": "val_psnr_db"}, "ascending": False}
    assert said[0] == f"W&B: view of this sweep: {wandb_backend.url}/hoir/p?nw={view.name[3:-2]}"


def test_report_holds_the_front_and_the_best_pictures(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    said: list[str] = []
    run(tmp_path, said)
    report = of_type(wandb_backend, "runs")
    assert (report.entity, report.project) == ("hoir", "p")
    assert report.display_name == "newt: the front and the best pictures"
    text = str(report.spec["blocks"])
    assert "Sweep newt, 3 trials: 3 finished." in text
    assert f"[t0001]({wandb_backend.url}/hoir/p/runs/newt-t0001-" in text
    assert "t0002" in text
    assert "t0003" not in text, "it is beaten by the first"
    grids = [b["metadata"] for b in report.spec["blocks"] if b["type"] == "panel-grid"]
    panels = [[p["viewType"] for p in g["panelBankSectionConfig"]["panels"]] for g in grids]
    assert panels == [
        ["Scatter Plot"],
        ["Media Browser", "Media Browser"],
        ["Parallel Coordinates Plot"],
        ["Run History Line Plot", "Run History Line Plot"],
        ["Weave"],
    ]
    filters = [str(g["runSets"][0]["filters"]) for g in grids]
    assert all("newt" in f for f in filters)
    assert "t0001" in filters[1]
    assert "t0002" in filters[1]
    assert "t0001" not in filters[0]
    assert said[1].startswith(f"W&B: report of this sweep: {wandb_backend.url}/hoir/p/reports/")


def test_a_resumed_sweep_keeps_its_view_and_rewrites_its_report(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    first: list[str] = []
    second: list[str] = []
    run(tmp_path / "runs", first)
    run(tmp_path / "runs", second)
    assert second == first
    assert of_type(wandb_backend, "project-view").num_saved == 1
    assert of_type(wandb_backend, "runs").num_saved == 2
    shutil.copytree(tmp_path / "runs", tmp_path / "copy")
    run(tmp_path / "copy")
    assert len(wandb_backend.views) == 4, "a copy is another sweep"
    run(tmp_path / "copy", spec=spec_of(TEXT.replace("project: p", "project: q")))
    assert len(wandb_backend.views) == 6, "what is in one project is not in another"


def test_several_metrics_are_plotted_against_the_first(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    two = "metrics: [{name: stored_psnr_db, goal: maximize}, {name: stored_bytes, goal: minimize}]"
    run(tmp_path, spec=spec_of(TEXT.replace("metrics: [{name: val_psnr_db, goal: maximize}]", two)))
    sections = sections_of(of_type(wandb_backend, "project-view"))
    assert [p["config"]["metrics"] for p in sections["Curves"]] == [["val_psnr_db"], ["train_loss"]]
    (scatter,) = sections["Size against quality"]
    assert (scatter["config"]["xAxis"], scatter["config"]["yAxis"]) == (
        "summary:stored_bytes",
        "summary:stored_psnr_db",
    )


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 404}, {"hang_s": 120.0}])
def test_wandb_that_fails_or_hangs_holds_nothing_up(
    wandb_backend: WandbBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: dict[str, float]
) -> None:
    spec = spec_of(TEXT.replace("finish_timeout_s: 60", "finish_timeout_s: 8"))
    made = sweep_views(tmp_path, spec=spec)
    with wandb_backend.faulty(
        "UpsertView2|upsertView", status=int(fault.get("status", 200)), hang_s=fault.get("hang_s", 0)
    ):
        began = time.monotonic()
        made.start()
        assert time.monotonic() - began < 2, "the sweep goes on beside it"
        made.finish(RECORDS)
        made.close()
        assert time.monotonic() - began < 2 * 8 + 10
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert [line.split(":")[1] for line in lines] == [" no view", " no report"], lines
    assert all("\n" not in line and KEY not in line for line in lines)
    assert wandb_backend.views == {}
    assert not storage_of(tmp_path).exists(KEPT)


def test_the_end_of_a_sweep_ends_what_hangs(
    wandb_backend: WandbBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = sweep_views(tmp_path)
    with wandb_backend.faulty("UpsertView2", hang_s=120) as fault:
        made.start()
        while not fault.hits:
            time.sleep(0.05)
        made.close()
        made._thread.join(timeout=30)
        assert not made._thread.is_alive()
    assert caplog.text == ""


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_offline_nothing_is_asked(
    wandb_backend: WandbBackend,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    mode: str,
) -> None:
    run(tmp_path, spec=spec_of(TEXT.replace("project: p", f"mode: {mode}")))
    monkeypatch.setenv("WANDB_MODE", mode)
    run(tmp_path)
    assert wandb_backend.log == []
    assert caplog.text == ""


def test_without_the_package_one_line_says_how_to_get_it(
    wandb_backend: WandbBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(views, "PACKAGE", "wandb_workspaces_of_nobody")
    made = sweep_views(tmp_path)
    made.start()
    made._thread.join(timeout=60)
    assert [r.getMessage() for r in caplog.records] == [
        "W&B: no view: a package is missing; pip install wandb-workspaces"
    ]


def test_views_are_switched_off_in_the_yaml(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    for trackers in ("{wandb: {views: false}}", "{jsonl: {}}"):
        spec = spec_of(TEXT.replace("{wandb: {project: p, finish_timeout_s: 60}}", trackers))
        space = build_space(spec, load_task("image").config)
        made = views_of(spec, storage_of(tmp_path), space=space, pictures=(), say=print)
        assert isinstance(made, NoViews)


def test_a_launchers_run_and_project_are_not_taken(
    wandb_backend: WandbBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"WANDB_PROJECT": "other", "WANDB_RUN_ID": "theirs", "WANDB_SWEEP_ID": "abc"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_ENTITY", "team")
    run(tmp_path)
    assert {(view.entity, view.project) for view in wandb_backend.views.values()} == {("team", "p")}


def test_key_is_kept_nowhere(wandb_backend: WandbBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path)
    assert len(wandb_backend.views) == 2
    assert KEY not in caplog.text
    assert [p for p in tmp_path.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()] == []


def test_text_in_a_report_is_not_markdown() -> None:
    assert _cell("a|b [x](y) *c*") == r"a\|b \[x\]\(y\) \*c\*"


def test_the_program_ends_itself_where_whoever_started_it_is_gone(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    spec = spec_of()
    shown = contents(spec, space=build_space(spec, load_task("image").config), pictures=())
    request = Request("p", None, "nw-abc-v", shown, limit_s=6)
    with wandb_backend.faulty(hang_s=120):
        ended = subprocess.run(
            [sys.executable, "-P", view_program.__file__],
            input=json.dumps(asdict(request)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
        )
    assert (ended.returncode, ended.stdout) == (-signal.SIGALRM, "")
