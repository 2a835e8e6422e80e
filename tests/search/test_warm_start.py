"""Warm starts: leaders of an earlier sweep tried first, its results as evidence, and what does not fit named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoir_ray.errors import SpecError
from hoir_ray.results.sweep_results import SPEC, SweepResults, open_sweep
from hoir_ray.search.warm_start import WarmStartData, load_warm_start, save_warm_start
from hoir_ray.spec.document import dump_document, parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.spec.space import build_space
from hoir_ray.storage import Storage, open_storage
from hoir_ray.sweep.resume import resolved
from hoir_ray.tasks.contract import TaskConfig
from hoir_ray.testing.example import TEXT, build_driver, run
from tests.report.made import made_sweep


@pytest.fixture
def source(tmp_path):
    storage = open_storage(str(tmp_path)).child("earlier")
    driver = build_driver(storage, TEXT)
    run(driver)
    storage.put(SPEC, TEXT.encode())
    return open_sweep(storage)


def beside(source: SweepResults) -> Storage:
    return open_storage(str(Path(source.storage.uri).parent)).child("own")


def warm_start(source: SweepResults, text: str, *, own: Storage | None = None) -> WarmStartData:
    document = parse_document(text, name="s.yaml")
    spec = build_spec(document)
    space = build_space(spec, TaskConfig, document)
    return load_warm_start(spec, space, own=own or beside(source))


def warm(source: SweepResults, *, mode: str = "enqueue", top_k: int = 2) -> str:
    return f"start_from: {{from: {source.storage.uri}, top_k: {top_k}, mode: {mode}}}\n"


def test_the_leaders_are_tried_first(source):
    text = TEXT + warm(source)
    own = beside(source)
    taken = warm_start(source, text)
    driver = build_driver(own, text, warm_start=taken)
    run(driver)
    tried = [r.parameters for r in sorted(driver.records.values(), key=lambda r: r.number)]
    assert tried[:2] == [r.parameters for r in source.leaderboard()[:2]]
    assert len(tried) == 12
    assert not taken.left_out


def test_observed_results_are_evidence_and_no_trials(source):
    text = TEXT + "method: tpe\n" + warm(source, mode="observe")
    taken = warm_start(source, text)
    assert len(taken.observed) == 12
    driver = build_driver(beside(source), text, warm_start=taken)
    assert len(driver.searcher.trials) == 12
    assert not driver.records
    run(driver)
    assert len(driver.records) == 12
    assert len(driver.searcher.trials) == 24


def test_what_does_not_fit_is_named_and_drawn_anew(source):
    narrow = TEXT.replace("network.hidden.width: {min: 4, max: 64}", "network.hidden.width: {min: 4, max: 5}")
    narrow = narrow.replace("values: [continuous, fourier]", "values: [continuous, fourier, polynomial]")
    text = narrow + warm(source, mode="observe")
    taken = warm_start(source, text)
    assert all("network.hidden.width" not in p for p in taken.points)
    assert all("training.optimizer.lr" in p for p in taken.points)
    assert any("network.hidden.width" in line and "not among the values" in line for line in taken.left_out)
    assert any("no evidence here" in line for line in taken.left_out)
    driver = build_driver(beside(source), text, warm_start=taken)
    first = driver.next()
    assert first is not None
    assert first.parameters["training.optimizer.lr"] == source.leaderboard()[0].parameters["training.optimizer.lr"]
    assert first.parameters["network.hidden.width"] in {4, 5}


def test_results_about_other_data_or_metrics_are_no_evidence(source):
    text = TEXT + warm(source, mode="observe") + "data: {image: other.png}\n"
    taken = warm_start(source, text)
    assert taken.points
    assert not taken.observed
    assert taken.left_out == ("its results are no evidence here: it was about other data",)


def test_a_sweep_of_another_task_is_refused(source):
    with pytest.raises(SpecError, match=r"'earlier'|'simulated'.*of task 'none', this one of 'image'"):
        warm_start(source, TEXT.replace("task: none", "task: image") + warm(source))


def test_a_sweep_that_is_not_there_or_has_nothing_is_refused(tmp_path, source):
    with pytest.raises(SpecError, match=r"start_from: no sweep at"):
        warm_start(source, TEXT + f"start_from: {tmp_path}/nowhere\n")
    empty = open_storage(str(tmp_path)).child("empty")
    empty.put(SPEC, TEXT.encode())
    with pytest.raises(SpecError, match="has no finished trial to start from"):
        warm_start(source, TEXT + f"start_from: [{empty.uri}]\n")


def test_a_sweep_goes_on_from_what_it_took_even_when_the_source_is_gone(source):
    own = beside(source)
    text = TEXT + warm(source, mode="observe")
    first = warm_start(source, text, own=own)
    save_warm_start(first, own)
    source.storage.delete_all("")
    again = warm_start(source, text, own=own)
    assert again == first


@pytest.mark.parametrize("start", ["default", "none", "[default, p.yaml, other]", "{from: other, mode: observe}"])
def test_the_resolved_yaml_runs_again(start):
    spec = build_spec(parse_document(TEXT + f"start_from: {start}\n", name="s.yaml"))
    text = dump_document(resolved(spec))
    assert build_spec(parse_document(text, name="spec.yaml")).start_from == spec.start_from


def test_the_old_name_is_the_same_start(source):
    texts = [TEXT + warm(source, mode=mode).replace("start_from", key)
             for mode in ("enqueue", "observe") for key in ("start_from", "warm_start")]  # fmt: skip
    specs = [build_spec(parse_document(text, name="s.yaml")) for text in texts]
    assert specs[0] == specs[1] != specs[2] == specs[3]
    assert not any("warm_start" in resolved(spec) for spec in specs)
    with pytest.raises(SpecError, match=r"^warm_start: give either 'start_from' or 'warm_start'.*\(s\.yaml:\d+\)$"):
        build_spec(parse_document(texts[1] + "start_from: none\n", name="s.yaml"))
    with pytest.raises(SpecError, match=r"^warm_start\.top_k: .*\(s\.yaml:\d+\)$"):
        build_spec(parse_document(TEXT + "warm_start: {from: x, top_k: 0}\n", name="s.yaml"))


def test_only_a_sweep_can_be_observed():
    with pytest.raises(
        SpecError, match=r"^start_from.*mode observe takes the results of an earlier sweep; default has"
    ):
        build_spec(parse_document(TEXT + "start_from: {from: default, mode: observe}\n", name="s.yaml"))


def test_a_grid_takes_no_warm_start(source):
    with pytest.raises(SpecError, match="start_from: a grid tries every point anyway"):
        build_spec(parse_document(TEXT + "method: grid\n" + warm(source), name="s.yaml"))


MADE = """\
name: own
task: image
data: {image: sample:astronaut, max_side: 24}
metric: {name: val_psnr_db}
parameters:
  network.hidden.width: {min: 4, max: 9}
budget: {max_trials: 4}
"""


def test_validate_says_what_will_be_carried_over_and_what_not(tmp_path, hoir):
    made_sweep(tmp_path / "hoir-runs")
    file = tmp_path / "s.yaml"
    file.write_text(MADE + "start_from: {from: made, top_k: 3, mode: observe}\n")
    outcome = hoir("validate", file)
    assert outcome.code == 0
    assert "1 point of made tried first" in outcome.out
    assert "warning: start_from: network.layer_type is not searched here" in outcome.err
    assert "warning: start_from: its results are no evidence here: it was searched by other metrics" in outcome.err
    facts = json.loads(hoir("validate", file, "--json").out)["start_from"]
    assert facts["observed"] == 0
    assert "network.layer_type is not searched here" in facts["left_out"]


@pytest.mark.parametrize(
    ("task", "key", "complaint"),
    [
        ("image", "start_from: mad", "no sweep at"),
        ("image", "warm_start: {from: mad}", "no sweep at"),
        ("neighborhood", "start_from: [made]", "sweep 'made' is of task 'image', this one of 'neighborhood'"),
    ],
)
def test_validate_refuses_what_cannot_be_started_from(tmp_path, hoir, task, key, complaint):
    made_sweep(tmp_path / "hoir-runs")
    file = tmp_path / "s.yaml"
    text = MADE if task == "image" else MADE.replace("task: image", f"task: {task}").replace("image: s", "images: s")
    file.write_text(text + f"{key}\n")
    outcome = hoir("validate", file)
    assert outcome.code == 2
    assert f"start_from: {complaint}" in outcome.err
    assert "s.yaml:8" in outcome.err
