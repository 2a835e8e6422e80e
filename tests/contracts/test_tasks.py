"""The contract of every task; a new task's folder is found by itself and needs one function in `tiny_configs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from hoir_ray.errors import SpecError
from hoir_ray.packs.pack import load_pack, write_pack
from hoir_ray.tasks import load_task, task_names
from hoir_ray.tasks.contract import TRAINING_METRICS, Task, TaskConfig
from hoir_ray.training.data import TaskData
from hoir_ray.training.loop import Epoch, Hooks, Measured, train
from tests.contracts import tiny_configs

EVERY_TASK = pytest.mark.parametrize("name", task_names())


def tiny(name: str, folder: Path) -> tuple[Task[Any], TaskConfig]:
    task = load_task(name)
    assert hasattr(tiny_configs, name), f"tests/contracts/tiny_configs.py needs a function '{name}'"
    given = getattr(tiny_configs, name)(folder)
    network = {**tiny_configs.TINY_NETWORK, **given.get("network", {})}
    return task, task.config.model_validate({"training": tiny_configs.TINY_TRAINING, **given, "network": network})


def loaded(name: str, folder: Path) -> tuple[Task[Any], TaskConfig, TaskData, torch.nn.Module]:
    task, config = tiny(name, folder)
    torch.manual_seed(0)
    return task, config, task.data(config), task.network(config)


def test_there_are_tasks_and_an_unknown_one_is_named_with_the_nearest() -> None:
    assert "image" in task_names()
    with pytest.raises(SpecError, match=r"unknown task 'imag'\. Did you mean 'image'.*Known: "):
        load_task("imag")


@EVERY_TASK
def test_the_record_is_whole(name: str) -> None:
    task = load_task(name)
    assert task.name == name
    assert task.summary
    assert TRAINING_METRICS | {"val_loss"} <= task.metrics


@EVERY_TASK
def test_the_defaults_are_a_valid_config(name: str) -> None:
    config = load_task(name).config()
    assert hash(config) == hash(load_task(name).config())


@EVERY_TASK
def test_a_config_goes_through_json_and_back(name: str, tmp_path: Path) -> None:
    task, config = tiny(name, tmp_path)
    assert task.config.model_validate(json.loads(config.model_dump_json())) == config


@EVERY_TASK
def test_a_batch_fits_the_network(name: str, tmp_path: Path) -> None:
    _, _, data, network = loaded(name, tmp_path)
    for samples in (data.train, data.val):
        inputs, target = samples(torch.tensor([0, samples.num_samples - 1, 0]))
        prediction = network(*inputs)
        assert prediction.shape == target.shape
        assert prediction.shape[0] == 3
        assert target.dtype == torch.float32


@EVERY_TASK
def test_parameters_are_counted_without_the_network(name: str, tmp_path: Path) -> None:
    task, config, _, network = loaded(name, tmp_path)
    assert task.num_parameters(config) == sum(p.numel() for p in network.parameters() if p.requires_grad)


@EVERY_TASK
def test_samples_are_counted_before_they_are_loaded(name: str, tmp_path: Path) -> None:
    task, config, data, _ = loaded(name, tmp_path)
    assert task.num_samples(config) == data.train.num_samples


@EVERY_TASK
def test_facts_are_plain_json(name: str, tmp_path: Path) -> None:
    task, _, data, _ = loaded(name, tmp_path)
    facts = json.loads(json.dumps(data.facts.model_dump(exclude_none=True), allow_nan=False))
    assert task.facts.model_validate(facts) == data.facts


@EVERY_TASK
def test_the_loss_falls_in_twenty_steps(name: str, tmp_path: Path) -> None:
    _, _, data, network = loaded(name, tmp_path)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    inputs, target = data.train(torch.arange(min(64, data.train.num_samples)))
    losses = []
    for _ in range(20):
        loss = functional.mse_loss(network(*inputs), target)
        optimizer.zero_grad()
        torch.autograd.backward([loss])
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@EVERY_TASK
def test_training_measures_what_the_task_says(name: str, tmp_path: Path) -> None:
    task, config, data, network = loaded(name, tmp_path)
    curve: list[Epoch] = []
    hooks = Hooks(metric="val_loss", goal="minimize", on_epoch=curve.append)
    train(network, data, config.training, Measured(score=task.score), hooks)
    assert len(curve) == config.training.max_epochs
    assert {"val_loss"} | TRAINING_METRICS <= set(curve[-1].metrics)
    assert set(curve[-1].metrics) <= task.metrics


@EVERY_TASK
def test_pictures_are_colours_in_rows(name: str, tmp_path: Path) -> None:
    task, _, data, network = loaded(name, tmp_path)
    pictures = task.pictures(network, data)
    assert "preview" in pictures
    for picture in pictures.values():
        assert picture.ndim == 3
        assert picture.shape[2] == 3
        assert 0 <= picture.min() <= picture.max() <= 1


@EVERY_TASK
def test_a_pack_draws_what_its_network_drew(name: str, tmp_path: Path) -> None:
    task, config, data, network = loaded(name, tmp_path)
    folder = tmp_path / "pack"
    write_pack(
        folder,
        task=task,
        config=config,
        facts=data.facts,
        state=network.state_dict(),
        metrics={"val_loss": 1.0},
        preview=task.pictures(network, data)["preview"],
    )
    pack = load_pack(folder)
    assert (pack.task.name, pack.config, pack.facts) == (name, config, data.facts)
    options = task.render_options()
    drawn = task.render(pack.network, pack.config, pack.facts, options)
    assert drawn.ndim == 4
    assert drawn.shape[3] == 3
    assert 0 <= drawn.min() <= drawn.max() <= 1
    assert torch.equal(drawn, task.render(network.eval(), config, data.facts, options))


@EVERY_TASK
@pytest.mark.parametrize("precision", ["64", "bf16"])
def test_every_precision_trains(name: str, precision: str, tmp_path: Path) -> None:
    task, config, data, network = loaded(name, tmp_path)
    changed = config.training.model_copy(update={"precision": precision, "max_epochs": 1})
    hooks = Hooks(metric="val_loss", goal="minimize")
    fit = train(network, data, changed, Measured(score=task.score, pictures=task.pictures), hooks)
    assert all(t.dtype == torch.float32 for t in fit.state.values() if t.is_floating_point())
    task.pictures(network, data)
