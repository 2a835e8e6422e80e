"""The stored form of a trial: measured, published beside the pack, and pulled as one file. No Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hoir_ray.errors import RequestError
from hoir_ray.packs.evaluate import measure
from hoir_ray.packs.load import load
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.pull import STORED, pull
from hoir_ray.results.record import TrialRecord, picture_of
from hoir_ray.results.sweep_results import SPEC, open_sweep
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.spec.stored import STORED as STORED_METRICS
from hoir_ray.storage import open_storage
from hoir_ray.sweep.finish import unreferenced
from hoir_ray.trials.attempt import Attempt
from hoir_ray.trials.messages import Finished, Message
from hoir_ray.trials.worker import train_worker

METRIC = MetricSpec(name="val_loss")

YAML = """
name: small
task: image
data: {image: "sample:astronaut", max_side: 24}
metric: {name: stored_psnr_db, goal: maximize}
parameters: {network.hidden.width: {value: 4}}
budget: {max_trials: 1}
"""


def run(tmp_path: Path, *, measures: bool, **training: Any) -> Finished:
    """One trial in a sweep's storage; returns its last message."""
    attempt = Attempt(
        sweep="small",
        trial="t0001",
        attempt=1,
        task="image",
        config={
            "network": {"hidden": {"width": 4}},
            "data": {"image": "sample:astronaut", "max_side": 24},
            "training": {"max_epochs": 2} | training,
        },
        metric="val_psnr_db",
        goal="maximize",
        measures_stored_form=measures,
        storage_uri=str(tmp_path),
        endpoint_url=None,
        trackers={"jsonl": {}},
        parameters={},
        workers=1,
        cpus=1,
        memory_limit=None,
        unsaved=str(tmp_path / "unsaved"),
    )
    messages: list[Message] = []

    def report(message: Message) -> None:
        messages.append(message)

    train_worker(attempt, report)
    storage = open_storage(str(tmp_path)).child("small")
    storage.put(SPEC, YAML.encode())
    last = messages[-1]
    assert isinstance(last, Finished)
    best = {"epoch": 2.0, "val_psnr_db": 1.0, **last.stored}
    record = TrialRecord(trial="t0001", number=1, parameters={}, state="FINISHED", model=last.model, best=best)
    Ledger(storage).save(record)
    return last


def test_the_stored_form_is_measured_published_and_pulled(tmp_path: Path) -> None:
    last = run(tmp_path, measures=True)
    pull(open_sweep(str(tmp_path / "small")), to=tmp_path / "net.hoir")
    assert (tmp_path / "net.hoir").stat().st_size == last.stored["stored_bytes"]
    drawn = measure(load(tmp_path / "net.hoir"), [])
    assert drawn["val_psnr_db"] == pytest.approx(last.stored["stored_psnr_db"], abs=1e-6)
    pull(open_sweep(str(tmp_path / "small")), to=tmp_path / "net")
    assert load(tmp_path / "net").metrics["stored_bytes"] == last.stored["stored_bytes"]
    (logged,) = (tmp_path / "small").rglob("metrics.jsonl")
    rows = [json.loads(line) for line in logged.read_text().splitlines()]
    assert [("stored_bytes" in row, "val_loss" in row) for row in rows] == [(False, True), (True, True)]


def test_training_with_quantization_makes_the_form_without_being_asked(tmp_path: Path) -> None:
    last = run(tmp_path, measures=False, quantization={"fraction": 0.5, "trade": 8.0})
    assert last.stored.keys() >= {"stored_bytes", "stored_bits_per_pixel", "stored_psnr_db", "stored_ssim"}


def test_nobody_asks_and_nothing_is_made(tmp_path: Path) -> None:
    last = run(tmp_path, measures=False)
    assert not last.stored.keys() & STORED_METRICS.keys()
    assert not (tmp_path / "small/models/t0001" / STORED).exists()
    opened = open_sweep(str(tmp_path / "small"))
    with pytest.raises(RequestError, match="t0001' has no stored form"):
        pull(opened, to=tmp_path / "net.hoir", trial="t0001")
    assert not (tmp_path / "net.hoir").exists()


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    run(tmp_path, measures=True)
    (tmp_path / "net.hoir").write_text("mine")
    with pytest.raises(RequestError, match="exists; choose another"):
        pull(open_sweep(str(tmp_path / "small")), to=tmp_path / "net.hoir")
    assert (tmp_path / "net.hoir").read_text() == "mine"


def test_the_picture_of_an_attempt_that_was_given_up_takes_no_place_of_another(tmp_path: Path) -> None:
    """As of a trial that was cut off, trains on and publishes after the attempt that counts."""
    counts, late = run(tmp_path, measures=False), run(tmp_path, measures=False)
    assert counts.model is not None
    assert late.model is not None
    kept = sorted(path.name for path in (tmp_path / "small/trials/t0001").glob("*.png"))
    assert kept == sorted(Path(picture_of(model)).name for model in (counts.model, late.model))
    records = {
        "t0001": TrialRecord(
            trial="t0001",
            number=1,
            parameters={},
            state="FINISHED",
            model=counts.model,
            picture=picture_of(counts.model),
        )
    }
    listed = open_storage(str(tmp_path / "small")).list("trials")
    assert picture_of(late.model) in unreferenced(listed, records, metric=METRIC)
    assert picture_of(counts.model) not in unreferenced(listed, records, metric=METRIC)


def test_what_the_task_measures_at_the_end_goes_where_the_stored_form_goes(tmp_path: Path) -> None:
    """The picture of 512 x 512 pixels was shrunk, so the network is compared with it as well."""
    last = run(tmp_path, measures=False)
    assert last.stored.keys() == {"val_full_psnr_db", "val_full_bicubic_psnr_db"}
    pull(open_sweep(str(tmp_path / "small")), to=tmp_path / "net", trial="t0001")
    assert load(tmp_path / "net").metrics["val_full_psnr_db"] == last.stored["val_full_psnr_db"]
