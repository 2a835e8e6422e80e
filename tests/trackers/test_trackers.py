from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hoir_ray.errors import SpecError
from hoir_ray.trackers import Tracker, build_trackers, tracker_config, tracker_names

IMAGES = {"preview": torch.linspace(0, 1, 48).view(4, 4, 3)}


def tracker(name: str, directory: Path) -> Tracker:
    (built,) = build_trackers(
        {name: {}}, directory=directory, sweep="s", trial="t1", run="r", parameters={"network.width": 8}
    )
    return built


def lines(directory: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (directory / "jsonl/t1/metrics.jsonl").read_text().splitlines()]


def test_names_come_from_the_files() -> None:
    assert {"jsonl", "tensorboard"} <= set(tracker_names())


def test_an_unknown_tracker_or_option_is_named_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"trackers\.tensorbord: unknown tracker\. Did you mean 'tensorboard'"):
        tracker_config("tensorbord", {})
    with pytest.raises(SpecError, match=r"trackers\.jsonl\.image: unknown key\. Did you mean 'images'"):
        tracker_config("jsonl", {"image": True})


@pytest.mark.parametrize("name", ["jsonl", "tensorboard"])
def test_a_tracker_takes_all_that_training_gives(name: str, tmp_path: Path) -> None:
    watched = tracker(name, tmp_path)
    watched.logger.log_hyperparams({"training": {"max_epochs": 3}, "none": None})
    for epoch in (1, 2):
        watched.logger.log_metrics({"val_loss": 1 / epoch}, step=epoch)
        watched.log_images(IMAGES, step=epoch)
    watched.close()
    assert (tmp_path / name / "t1").is_dir()


def test_jsonl_has_a_line_per_epoch_and_the_pictures(tmp_path: Path) -> None:
    watched = tracker("jsonl", tmp_path)
    watched.logger.log_metrics({"val_loss": 0.5}, step=1)
    watched.log_images(IMAGES, step=1)
    assert lines(tmp_path) == [{"epoch": 1, "val_loss": 0.5}]
    watched.logger.log_hyperparams({"training": {"seed": 3}})
    parameters = json.loads((tmp_path / "jsonl/t1/parameters.json").read_text())
    assert parameters == {"sweep": "s", "trial": "t1", "network.width": 8}
    assert json.loads((tmp_path / "jsonl/t1/config.json").read_text()) == {"training": {"seed": 3}}
    with Image.open(tmp_path / "jsonl/t1/images/preview-000001.png") as picture:
        assert picture.size == (4, 4)


def test_jsonl_replaces_the_epochs_that_a_restart_repeats(tmp_path: Path) -> None:
    for value, epochs in ((1.0, (1, 2, 3)), (2.0, (3, 4))):
        watched = tracker("jsonl", tmp_path)
        for epoch in epochs:
            watched.logger.log_metrics({"v": value}, step=epoch)
    assert [(row["epoch"], row["v"]) for row in lines(tmp_path)] == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)]


def test_jsonl_survives_a_line_that_was_cut_off(tmp_path: Path) -> None:
    tracker("jsonl", tmp_path).logger.log_metrics({"v": 1.0}, step=1)
    with (tmp_path / "jsonl/t1/metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "v"')
    tracker("jsonl", tmp_path).logger.log_metrics({"v": 2.0}, step=2)
    assert [row["epoch"] for row in lines(tmp_path)] == [1, 2]


def test_tensorboard_shows_the_epochs_that_a_restart_repeats_once(tmp_path: Path) -> None:
    for value, epochs in ((1.0, (1, 2, 3)), (2.0, (3, 4))):
        watched = tracker("tensorboard", tmp_path)
        for epoch in epochs:
            watched.logger.log_metrics({"v": value}, step=epoch)
        watched.close()
    events = EventAccumulator(str(tmp_path / "tensorboard/t1")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("v")] == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)]


def test_tensorboard_can_be_read_back(tmp_path: Path) -> None:
    watched = tracker("tensorboard", tmp_path)
    watched.logger.log_metrics({"val_loss": 0.25}, step=3)
    watched.log_images(IMAGES, step=3)
    watched.close()
    events = EventAccumulator(str(tmp_path / "tensorboard/t1"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("val_loss")] == [(3, 0.25)]
    assert events.Tags()["images"] == ["preview"]
