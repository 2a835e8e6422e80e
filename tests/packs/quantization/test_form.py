from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hoir_ray.errors import DivergedError, RequestError
from hoir_ray.packs.codec.file import decode
from hoir_ray.packs.codec.steps import to_integers, to_weights
from hoir_ray.packs.evaluate import data_of
from hoir_ray.packs.pack import Pack
from hoir_ray.packs.quantization.distortion import Distortion
from hoir_ray.packs.quantization.fine_tuning import fine_tune
from hoir_ray.packs.quantization.form import Form, find_form, measure_file, uniform_form
from hoir_ray.packs.quantization.goal import Goal
from hoir_ray.packs.quantization.metrics import stored_metrics
from hoir_ray.packs.quantization.output_layer import refit
from hoir_ray.packs.quantization.search import search_codes, set_weights, uniform_codes, weights_of
from hoir_ray.tasks import load_task
from hoir_ray.training.config import QuantizationConfig
from hoir_ray.training.data import TaskData
from hoir_ray.training.loop import Hooks, Measured, train
from hoir_ray.training.predict import predict


@dataclass(frozen=True)
class Trained:
    pack: Pack
    data: TaskData
    psnr_db: float

    def copy(self) -> Pack:
        """With a network of its own, for tests that change it."""
        network = self.pack.task.network(self.pack.config)
        network.load_state_dict(self.pack.network.state_dict())
        return replace(self.pack, network=network.eval())


def train_small(**network: Any) -> Trained:
    task = load_task("image")
    config = task.config.model_validate(
        {
            "network": {"hidden": {"width": 10}, "input": {"segments": 8}, **network},
            "data": {"image": "sample:astronaut", "max_side": 48},
            "training": {"max_epochs": 6, "batch_size": 128},
        }
    )
    data = task.data(config)
    torch.manual_seed(0)
    built = task.network(config)
    fit = train(built, data, config.training, Measured(score=task.score), Hooks(metric="val_loss", goal="minimize"))
    pack = Pack(
        task=task, config=config, network=built.eval(), facts=data.facts, metrics=fit.best_metrics, folder=Path("p")
    )
    return Trained(pack, data, fit.best_metrics["val_psnr_db"])


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train_small()


@pytest.fixture(scope="module")
def usual(trained: Trained) -> Form:
    return find_form(trained.pack, trained.data, goal=Goal())


def test_the_usual_form_is_a_fraction_of_the_weights_for_little_of_the_picture(trained: Trained, usual: Form) -> None:
    num_weights = sum(p.numel() for p in trained.pack.network.parameters())
    assert usual.size_bytes < 0.25 * 4 * num_weights
    assert usual.psnr_db > trained.psnr_db - 1.5


def test_the_searched_form_beats_equal_bits_for_all_tensors_at_its_size(trained: Trained, usual: Form) -> None:
    forms = [uniform_form(trained.pack, bits=bits) for bits in (3, 4, 5, 6, 7)]
    as_large = [form for form in forms if form.size_bytes <= usual.size_bytes]
    assert as_large
    best = max(measure_file(form.content, trained.data)["val_psnr_db"] for form in as_large)
    assert usual.psnr_db > best


def test_the_metrics_of_a_form_are_those_of_its_file(trained: Trained, usual: Form) -> None:
    pack = decode(usual.content, path=Path("x.hoir"))
    prediction, target = predict(pack.network, trained.data.val)
    drawn = trained.pack.task.score(prediction, target, trained.data)
    assert stored_metrics(usual, facts=trained.data.facts) == {
        "stored_bytes": len(usual.content),
        "stored_bits_per_pixel": 8 * len(usual.content) / (48 * 48),
        "stored_psnr_db": drawn["val_psnr_db"],
        "stored_ssim": drawn["val_ssim"],
    }


def test_finding_a_form_leaves_the_network_and_its_weights_alone(trained: Trained) -> None:
    pack = trained.copy()
    find_form(pack, trained.data, goal=Goal())
    for name, weights in trained.pack.network.state_dict().items():
        assert torch.equal(pack.network.state_dict()[name], weights)


def test_a_size_is_kept_and_used(trained: Trained, usual: Form) -> None:
    limit = usual.size_bytes * 3 // 4
    form = find_form(trained.pack, trained.data, goal=Goal(max_bytes=limit))
    assert 0.9 * limit < form.size_bytes <= limit
    assert form.psnr_db < usual.psnr_db


def test_a_quality_is_reached_in_fewer_bytes_where_less_is_asked(trained: Trained, usual: Form) -> None:
    wanted = usual.psnr_db - 2
    form = find_form(trained.pack, trained.data, goal=Goal(min_psnr_db=wanted))
    assert wanted <= form.psnr_db < wanted + 1.5
    assert form.size_bytes < usual.size_bytes


@pytest.mark.parametrize("goal", [Goal(max_bytes=10), Goal(min_psnr_db=90)], ids=str)
def test_a_goal_that_cannot_be_met_names_the_nearest(trained: Trained, goal: Goal) -> None:
    with pytest.raises(
        RequestError, match=rf"{goal}: cannot be met; the nearest form found has [\d,]+ bytes and .* dB"
    ):
        find_form(trained.pack, trained.data, goal=goal)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"max_bytes": 10, "bits": 5}, "--max-bytes and --bits: give one of them"),
        ({"bits": 1}, "from 2 to 24, got 1"),
        ({"bits": float("nan")}, "from 2 to 24, got nan"),
        ({"max_bytes": 0}, "at least 1, got 0"),
        ({"min_psnr_db": float("inf")}, "must be a number, got inf"),
    ],
)
def test_goals_that_contradict_are_refused(given: dict[str, Any], rule: str) -> None:
    with pytest.raises(RequestError, match=rule):
        Goal(**given)


@pytest.mark.parametrize("value", [0.0, 0.5, 1e20])
def test_weights_that_are_all_one_value_have_a_form(trained: Trained, value: float) -> None:
    pack = trained.copy()
    with torch.no_grad():
        for weights in pack.network.parameters():
            weights.fill_(value)
    assert np.isfinite(find_form(pack, trained.data, goal=Goal()).psnr_db)


@pytest.mark.parametrize(
    "network",
    [{}, {"layer_type": "relu"}, {"output": {"layer_type": "polynomial", "num_nodes": 5}}],
    ids=["continuous", "linear output", "polynomial output"],
)
def test_the_output_layer_solved_again_is_never_worse_than_rounded(network: dict[str, Any]) -> None:
    trained = train_small(**network)
    pack, weights = trained.pack, weights_of(trained.pack.network)
    distortion = Distortion(pack.network, trained.data.val)
    codes = uniform_codes(weights, bits=5)
    rounded = {name: to_weights(to_integers(w, code=codes[name]), code=codes[name]) for name, w in weights.items()}
    set_weights(pack.network, rounded)
    before = distortion()
    name = refit(distortion, rounded, code=None)
    assert name is not None
    set_weights(pack.network, rounded)
    exact = distortion()
    refit(distortion, rounded, code=codes[name])
    set_weights(pack.network, rounded)
    on_steps = distortion()
    assert exact < before
    assert exact <= on_steps * (1 + 1e-6)
    assert on_steps < before
    steps = rounded[name].astype(np.float64) / to_weights(np.array([1]), code=codes[name])[0]
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)


def test_an_output_layer_of_products_stays_as_it_is(trained: Trained) -> None:
    task = load_task("image")
    config = task.config.model_validate({"network": {"layer_type": "continuous_prod", "hidden": {"width": 3}}})
    network = task.network(config)
    weights = weights_of(network)
    assert refit(Distortion(network, trained.data.val), dict(weights), code=None) is None


def test_training_on_under_rounding_gives_back_part_of_what_it_cost(trained: Trained) -> None:
    pack = trained.copy()
    distortion = Distortion(pack.network, trained.data.val)
    codes = uniform_codes(weights_of(pack.network), bits=4)

    def rounded_mse(network: nn.Module) -> float:
        exact = weights_of(network)
        set_weights(network, {n: to_weights(to_integers(w, code=codes[n]), code=codes[n]) for n, w in exact.items()})
        mse = distortion()
        set_weights(network, exact)
        return mse

    float_mse, before = distortion(), rounded_mse(pack.network)
    quantization = QuantizationConfig(fraction=1.0, lr=2e-3)
    fine_tune(pack.network, trained.data, codes, training=pack.config.training, quantization=quantization)
    after = rounded_mse(pack.network)
    assert after - float_mse < 0.6 * (before - float_mse)


def test_fine_tuning_that_diverges_says_so(trained: Trained) -> None:
    pack = trained.copy()
    with pytest.raises(DivergedError, match="in fine-tuning; a lower learning rate may help"):
        fine_tune(
            pack.network,
            trained.data,
            dict.fromkeys(pack.network.state_dict(), -600),
            training=pack.config.training,
            quantization=QuantizationConfig(lr=100),
        )


def test_a_trade_for_smaller_files_makes_smaller_files(trained: Trained) -> None:
    pack = trained.copy()
    weights = weights_of(pack.network)
    distortion = Distortion(pack.network, trained.data.val)
    fine, coarse = (search_codes(distortion, weights, trade=trade) for trade in (0.1, 10.0))
    assert sum(fine.values()) < sum(coarse.values())


def test_the_data_is_asked_for_where_a_file_does_not_name_it(trained: Trained, usual: Form) -> None:
    pack = replace(decode(usual.content, path=Path("x.hoir")), missing=("data.image",))
    with pytest.raises(RequestError, match=r"x\.hoir: does not name its data; give it as data\.image=\.\.\."):
        data_of(pack, [])
    assert data_of(pack, ["data.image=sample:astronaut"]).facts == trained.data.facts
