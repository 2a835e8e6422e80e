"""Metrics of the stored form in a sweep: known at a trial's end, represented by others until then."""

from __future__ import annotations

import pytest

from hoir_ray.errors import SpecError
from hoir_ray.results.front import pareto_front
from hoir_ray.results.ranking import ranked
from hoir_ray.search.optuna_searcher import OptunaSearcher
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.storage import Storage, open_storage
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.sweep.planning.plan import Plan, plan_sweep
from hoir_ray.testing.example import TEXT, build_driver

FRONT = TEXT.replace(
    "metric: {name: quality, goal: maximize}",
    "metrics: [{name: stored_psnr_db, goal: maximize}, {name: stored_bytes}]\nconstraints: [stored_bytes <= 3000]",
)
SWEEP = """\
name: small
task: image
data: {image: "sample:astronaut", max_side: 32}
metric: {name: stored_psnr_db, goal: maximize}
parameters:
  network.hidden.width: {values: [2, 40]}
budget: {max_trials: 2}
"""


@pytest.fixture
def storage(tmp_path) -> Storage:
    return open_storage(str(tmp_path)).child("simulated")


def run_to_the_end(driver: Driver) -> None:
    """Every trial in two epochs; wider networks draw better and their files are larger."""
    while (record := driver.next()) is not None:
        driver.started(record.trial)
        width = float(record.parameters["network.hidden.width"] or 0)
        for epoch in (1, 9):
            row = {"epoch": float(epoch), "val_psnr_db": width + epoch, "num_parameters": width}
            assert driver.reported(record.trial, row) is None
        stored = {"stored_psnr_db": width + 5, "stored_bytes": 100 * width}
        driver.succeeded(record.trial, reason="done", model=None, stored=stored)


def plan_of(text: str) -> Plan:
    document = parse_document(text, name="s.yaml")
    return plan_sweep(build_spec(document), document)


def test_trials_are_ranked_and_searched_by_what_is_measured_at_their_end(storage: Storage) -> None:
    driver = build_driver(storage, FRONT + "method: tpe\n")
    run_to_the_end(driver)
    records = list(driver.records.values())
    board = ranked(records, spec=driver.spec)
    assert board
    assert len(board) < len(records)  # some break the constraint
    assert all((r.best or {})["stored_bytes"] <= 3000 for r in board)
    psnrs = [(r.best or {})["stored_psnr_db"] for r in board]
    assert psnrs == sorted(psnrs, reverse=True)
    assert driver.board.leaders == pareto_front(board, metrics=driver.spec.metrics)
    assert isinstance(driver.searcher, OptunaSearcher)
    told = {tuple(t.values) for t in driver.searcher.trials if t.values}
    assert told == {((r.best or {})["stored_psnr_db"], (r.best or {})["stored_bytes"]) for r in records}


def test_the_best_epoch_is_by_the_stand_in(storage: Storage) -> None:
    driver = build_driver(storage, FRONT)
    record = driver.next()
    assert record is not None
    driver.started(record.trial)
    for epoch, psnr in ((1, 20.0), (2, 30.0), (3, 25.0)):
        driver.reported(record.trial, {"epoch": float(epoch), "val_psnr_db": psnr, "num_parameters": 9.0})
    driver.succeeded(record.trial, reason="done", model=None, stored={"stored_psnr_db": 29.0})
    assert driver.records[record.trial].best == {
        "epoch": 2.0,
        "val_psnr_db": 30.0,
        "num_parameters": 9.0,
        "stored_psnr_db": 29.0,
    }


@pytest.mark.parametrize(
    ("metric", "stand_in"),
    [
        ("stored_psnr_db", ("val_psnr_db", "maximize")),
        ("stored_ssim", ("val_ssim", "maximize")),
        ("stored_bytes", ("val_loss", "minimize")),
        ("stored_bits_per_pixel", ("val_loss", "minimize")),
        ("num_parameters", ("val_loss", "minimize")),
        ("val_ssim", ("val_ssim", "maximize")),
    ],
)
def test_every_stored_metric_has_a_stand_in_while_a_trial_trains(metric: str, stand_in: tuple[str, str]) -> None:
    spec = plan_of(SWEEP.replace("stored_psnr_db", metric)).spec
    assert (spec.epoch_metric.name, spec.epoch_metric.goal) == stand_in
    assert spec.measures_stored_form == metric.startswith("stored_")


def test_a_constraint_alone_asks_for_the_stored_form() -> None:
    text = SWEEP.replace("stored_psnr_db", "val_psnr_db") + "constraints: [stored_bytes < 5000 and val_ssim > 0.1]\n"
    assert plan_of(text).spec.measures_stored_form


def test_asha_prunes_by_the_stand_in(storage: Storage) -> None:
    text = FRONT.replace("stored_bytes <= 3000", "stored_bytes <= 10000")
    driver = build_driver(storage, text + "early_terminate: {type: mo_asha, min_iter: 1, eta: 3}\n")
    pruned = 0
    while (record := driver.next()) is not None:
        driver.started(record.trial)
        good = record.number % 3 == 1
        row = {"epoch": 1.0, "val_psnr_db": 30.0 if good else 10.0, "num_parameters": 5.0 if good else 50.0}
        if driver.reported(record.trial, row) is not None:
            pruned += 1
        else:
            driver.succeeded(
                record.trial, reason="done", model=None, stored={"stored_psnr_db": 1.0, "stored_bytes": 1.0}
            )
    assert pruned > 0
    reasons = [r.reason for r in driver.records.values() if r.state == "PRUNED"]
    assert all("val_psnr_db" in reason for reason in reasons)


def test_a_task_without_ssim_has_no_stored_ssim() -> None:
    text = SWEEP.replace("task: image", "task: neighborhood").replace("data: {image: ", "data: {images: ")
    assert plan_of(text).spec.metric.name == "stored_psnr_db"
    with pytest.raises(SpecError, match="has no metric 'stored_ssim'"):
        plan_of(text.replace("stored_psnr_db", "stored_ssim"))


def test_bits_per_pixel_of_the_weights_is_refused_before_a_trial_is_trained() -> None:
    plan = plan_of(SWEEP + "constraints: [bits_per_pixel < 5]\n")
    assert plan.candidate({"network.hidden.width": 2}).refusal is None
    refusal = plan.candidate({"network.hidden.width": 40}).refusal
    num_parameters = plan.task.num_parameters(plan.config({"network.hidden.width": 40}))
    assert refusal == f"bits_per_pixel < 5 does not hold for bits_per_pixel {32 * num_parameters / 1024:.4g}"


def test_a_picture_that_is_elsewhere_leaves_bits_per_pixel_to_the_trial() -> None:
    plan = plan_of(SWEEP.replace("sample:astronaut", "elsewhere.png") + "constraints: [bits_per_pixel < 0.1]\n")
    assert plan.candidate({"network.hidden.width": 40}).refusal is None


def test_a_constraint_on_the_stored_form_refuses_nothing_beforehand() -> None:
    plan = plan_of(SWEEP + "constraints: [stored_bits_per_pixel < 0.0001]\n")
    assert plan.candidate({"network.hidden.width": 40}).refusal is None
