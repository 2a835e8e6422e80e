"""The report's file: complete, small, alone, and open about what is missing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest

from hoir_ray import wording
from hoir_ray.report import build_report, watch_report, write_report
from hoir_ray.report.chart import seconds_between
from hoir_ray.report.charts import CHARTS
from hoir_ray.report.cost import cost_of
from hoir_ray.results.sweep_results import SweepResults, open_sweep
from hoir_ray.spec.schema import Resources
from hoir_ray.tasks import load_task, task_names
from tests.report.made import SINGLE, TEXT, comparison, made_record, made_sweep


def embedded(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.mark.parametrize("text", [TEXT, SINGLE], ids=["front", "single"])
def test_the_report_holds_every_section_and_every_trial(tmp_path, text):
    sweep = made_sweep(tmp_path, text=text)
    page = build_report(sweep)
    for section in (*CHARTS, "gallery", "trials", "failures", "cost", "searched"):
        assert f'id="{section}"' in page
    assert all(r.trial in page for r in sweep.records)
    assert text.splitlines()[0] in page
    assert set(embedded(page)["figures"]) == set(CHARTS)
    assert "val_loss became nan in epoch 1" in page
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)


def test_two_hundred_trials_stay_under_ten_megabytes(tmp_path):
    sweep = made_sweep(tmp_path, num_trials=200, pictures=False)
    large = comparison(1, side=400)
    for record in sweep.leaderboard():
        sweep.storage.put(record.picture_key, large + record.trial.encode())
    assert len(build_report(sweep).encode()) < 10_000_000


def test_a_picture_shown_twice_is_stored_once(tmp_path):
    data = embedded(build_report(made_sweep(tmp_path)))
    originals = {shown["original"] for shown in data["pictures"].values() if "original" in shown}
    assert len(originals) == 1
    assert set(data["files"]) == {key for shown in data["pictures"].values() for key in shown.values()}


def test_missing_pictures_and_curves_are_named_and_the_rest_is_there(tmp_path):
    made = made_sweep(tmp_path, pictures=False)
    bare = [r.change(curve=()) if r.number < 4 else r for r in made.records]
    made.storage.put(made.leaderboard()[0].picture_key, b"this is no picture")
    page = build_report(SweepResults(made.storage, made.spec, tuple(bare)))
    assert "No picture was found for" in page
    assert "No learning curve was recorded for t0001, t0002, t0003" in page
    assert "No finished trial has left a picture." in page
    assert "curves" in embedded(page)["figures"]


@pytest.mark.parametrize("state", ["PRUNED", "FAILED", "RUNNING"])
def test_a_sweep_without_a_finished_trial_still_has_a_report(tmp_path, state):
    made = made_sweep(tmp_path, num_trials=3)
    page = build_report(SweepResults(made.storage, made.spec, tuple(r.change(state=state) for r in made.records)))
    assert "No trial has finished within the constraints yet" in page
    assert "front" not in embedded(page)["figures"]


def test_a_sweep_without_any_trial_still_has_a_report(tmp_path):
    assert "The sweep has no trial yet." in build_report(made_sweep(tmp_path, num_trials=0))


def test_a_front_of_one_has_no_knee(tmp_path):
    made = made_sweep(tmp_path, num_trials=1)
    page = build_report(made)
    figure = embedded(page)["figures"]["front"]
    assert [t["name"] for t in figure["data"]] == ["front"]
    assert "1 trial that no other one beats" in page
    assert "The knee" not in page


def test_trials_outside_the_constraints_are_shown_apart(tmp_path):
    made = made_sweep(tmp_path)
    page = build_report(made)
    wide = [r for r in made.records if r.state == "FINISHED" and (r.num_parameters or 0) > 8000]
    assert wide
    assert all(f"{r.trial}: num_parameters &lt;= 8000 does not hold" in page for r in wide)
    assert "breaks a constraint" in [t["name"] for t in embedded(page)["figures"]["front"]["data"]]


def test_another_tasks_picture_is_shown_whole(tmp_path):
    made = made_sweep(tmp_path)
    sweep = SweepResults(made.storage, made.spec.model_copy(update={"task": "neighborhood"}), made.records)
    pictures = embedded(build_report(sweep))["pictures"]
    assert all(set(shown) == {"picture"} for shown in pictures.values())


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path, hoir):
    made_sweep(tmp_path / "hoir-runs")
    (tmp_path / "taken").write_text("")
    outcome = hoir("report", "made", "--out", "taken/report.html")
    assert outcome.code == 2
    assert "cannot be written" in outcome.err
    assert hoir("report", "made").code == 0
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["report.html", "taken"]


def test_the_cost_counts_pauses_once_and_devices_fully():
    records = [made_record(n) for n in (1, 2, 3)]
    cost = cost_of(records, resources=Resources(workers=2, gpus=1))
    seconds = [4 + r.epochs for r in records]
    assert cost.trial_s == sum(seconds)
    assert cost.busy_s == sum(seconds)  # a minute apart, so they never overlap
    assert cost.device_hours == pytest.approx(sum(seconds) * 2 / 3600)
    assert cost.epochs == sum(r.epochs for r in records)
    assert cost.all_epochs == 81


def test_the_watched_page_answers_this_machine_alone(tmp_path):
    sweep = made_sweep(tmp_path, num_trials=2)
    address, ready, stop = [], threading.Event(), threading.Event()

    def show(at: str) -> None:
        address.append(at)
        ready.set()

    thread = threading.Thread(
        target=watch_report,
        args=(lambda: open_sweep(sweep.storage),),
        kwargs={"out": tmp_path / "r.html", "show": show, "stop": stop, "every_s": 0.1},
    )
    thread.start()
    try:
        assert ready.wait(30)
        assert address[0].startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address[0]) as answer:
            assert b"made: sweep report" in answer.read()
        for request in (
            urllib.request.Request(address[0], headers={"Host": "elsewhere.example"}),
            urllib.request.Request(address[0] + "etc/passwd"),
        ):
            with pytest.raises(urllib.error.HTTPError) as refusal:
                urllib.request.urlopen(request)
            refusal.value.close()
    finally:
        stop.set()
        thread.join()


def test_writing_twice_gives_the_same_file(tmp_path):
    sweep = made_sweep(tmp_path, num_trials=6)
    first = write_report(sweep, tmp_path / "a.html").read_bytes()
    assert write_report(sweep, tmp_path / "b.html").read_bytes() == first


_REPORT = """
import resource, sys
from hoir_ray.report import build_report
from hoir_ray.results.sweep_results import open_sweep

build_report(open_sweep(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "torch" in sys.modules)
"""


def test_memory_does_not_grow_with_the_pictures(tmp_path):
    used = {}
    for num_trials in (20, 160):
        sweep = made_sweep(tmp_path / str(num_trials), num_trials=num_trials, pictures=False)
        picture = comparison(1, side=768)  # 5 MB each, decoded
        for record in sweep.leaderboard():
            sweep.storage.put(record.picture_key, picture)
        done = subprocess.run([sys.executable, "-c", _REPORT, sweep.storage.uri], capture_output=True, check=True)
        mib, has_torch = done.stdout.split()
        assert has_torch == b"False"
        used[num_trials] = float(mib)
    assert used[160] - used[20] < 40


def test_a_picture_too_large_to_scale_is_named_as_missing(tmp_path, monkeypatch):
    sweep = made_sweep(tmp_path)
    monkeypatch.setattr("hoir_ray.report.pictures.MAX_PIXELS", 100)
    assert "No picture was found for" in build_report(sweep)


def test_the_head_says_where_when_and_with_what(tmp_path):
    made = made_sweep(tmp_path, num_trials=6, pictures=False)
    spec = made.spec.model_copy(update={"provenance": {"torch": "9.9"}})
    records = tuple(r.change(node="host-7") for r in made.records)
    page = build_report(SweepResults(made.storage, spec, records))
    for text in (made.storage.uri, "2026-01-02 10:01", "host-7", "torch 9.9"):
        assert text in page


def test_a_parameter_that_was_searched_on_a_log_scale_is_shown_on_one(tmp_path):
    narrow = TEXT.replace("min: 1.0e-4, max: 1.0e-1", "min: 2.0e-3, max: 1.2e-2")
    sweep = made_sweep(tmp_path, text=narrow)
    rates = {2e-3, 4e-3, 8e-3}
    records = [r for r in sweep.records if r.state == "FINISHED"][: len(rates)]
    given = [
        r.model_copy(update={"parameters": {**r.parameters, "training.optimizer.lr": rate}})
        for r, rate in zip(records, sorted(rates), strict=True)
    ]
    figure = CHARTS["parallel"](SweepResults(sweep.storage, sweep.spec, tuple(given))).figure
    assert figure is not None
    assert "0.004" in [note["text"] for note in figure["layout"]["annotations"]]  # in the middle


def test_times_count_from_the_first_start(tmp_path):
    sweep = made_sweep(tmp_path)
    (trial, after, _) = CHARTS["progress"](sweep).rows[-1]
    by_name = {r.trial: r for r in sweep.records}
    begin = min(r.started_at or "" for r in sweep.records)
    assert after == wording.duration(seconds_between(begin, by_name[trial].ended_at))


@pytest.mark.parametrize("task", [name for name in task_names() if not load_task(name).panels])
def test_a_picture_without_parts_says_what_is_where(task):
    assert load_task(task).pictured


def test_a_picture_without_parts_is_labelled(tmp_path):
    text = TEXT.replace("task: image", "task: text_to_image").replace(
        "{image: sample:astronaut, max_side: 24}", "{files: [sample:photos], text_model: hashing}"
    )
    page = build_report(made_sweep(tmp_path, text=text.replace(", val_ssim > 0.2", "")))
    assert "pairs of an original, on the left, and what the network draws" in page
