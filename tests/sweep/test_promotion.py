"""Promotion of stopped trials: by hand or by the model, to their end, and never stopped twice."""

from __future__ import annotations

import pytest

from hoir_ray.errors import RequestError
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import TrialRecord
from hoir_ray.search.gaussian_process.promotion import Promotion
from hoir_ray.storage import open_storage
from hoir_ray.sweep.resume import promoted
from hoir_ray.testing.example import MAX_EPOCHS, TEXT, build_driver, run

ASHA = TEXT + "start_from: none\nearly_terminate: {type: asha, min_iter: 3, eta: 3}\n"


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path)).child("simulated")


@pytest.fixture
def swept(storage) -> dict[str, TrialRecord]:
    run(build_driver(storage, ASHA), slots=3)
    return {r.trial: r for r in Ledger(storage).load()}


def of_state(records: dict[str, TrialRecord], state: str) -> str:
    return next(name for name, r in records.items() if r.state == state)


def checkpoint(storage, trial: str, *, epoch: int) -> None:
    storage.put(f"trials/{trial}/checkpoints/a001-e{epoch:07d}/manifest.json", b"{}")


def test_a_stopped_trial_is_continued_to_its_end_and_the_ledger_says_so(storage, swept):
    name = of_state(swept, "PRUNED")
    checkpoint(storage, name, epoch=3)
    records, _ = promoted(list(swept.values()), [name], storage=storage)
    waiting = {r.trial: r for r in Ledger(storage).load()}[name]
    assert (waiting.state, waiting.reason) == ("PENDING", "promoted at epoch 3: asked for by hand")
    driver = build_driver(storage, ASHA, records=records)
    run(driver)
    done = driver.records[name]
    assert (done.state, done.epochs, done.attempt) == ("FINISHED", MAX_EPOCHS, swept[name].attempt + 1)
    assert {n: r for n, r in driver.records.items() if n != name} == {n: r for n, r in swept.items() if n != name}


def test_what_cannot_be_continued_is_refused_with_its_reason_and_nothing_changes(storage, swept):
    finished, stopped = of_state(swept, "FINISHED"), of_state(swept, "PRUNED")
    failed = swept[finished].change(trial="t0090", number=90, state="FAILED", reason="val_loss became nan")
    with pytest.raises(RequestError) as refused:
        promoted([*swept.values(), failed], [finished, stopped, "t0090", "t9999"], storage=storage)
    lines = str(refused.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        f"--promote {name}" for name in (finished, stopped, "t0090", "t9999")
    ]
    for line, why in zip(lines, ("finished", "no checkpoint", "val_loss became nan", "no such trial"), strict=True):
        assert why in line
    assert {r.trial: r for r in Ledger(storage).load()} == swept


def test_the_models_choice_is_recorded_run_to_its_end_and_resumes(storage, monkeypatch):
    driver = build_driver(storage, ASHA)
    run(driver, slots=3, num_epochs=40)
    name = of_state(driver.records, "PRUNED")
    chosen = Promotion(trial=name, predicted=31.2, deviation=0.4, best=30.9)
    with monkeypatch.context() as patch:
        patch.setattr(driver.searcher, "ask", lambda *a, **k: chosen)
        while (record := driver.next()) is not None and record.trial != name:
            driver.started(record.trial)
    assert driver.records[name].reason == "promoted at epoch 3: predicted 31.2 ± 0.4 against best 30.9"
    for each in sorted(driver.running):
        driver.interrupted(each, reason="test")
    again = build_driver(storage, ASHA, records=Ledger(storage).load())
    run(again, slots=3)
    assert again.records[name].state == "FINISHED"
