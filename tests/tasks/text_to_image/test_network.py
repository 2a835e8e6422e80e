"""The network against its parts, its count, and pictures drawn from a pack's facts alone."""

from __future__ import annotations

import json

import pytest
import torch
from pydantic import ValidationError

from hoir_ray.errors import RequestError
from hoir_ray.tasks.text_to_image import TASK
from hoir_ray.tasks.text_to_image.config import RenderOptions, TextToImageConfig


def config(network: dict | None = None, **data) -> TextToImageConfig:
    settings = {"text_model": "hashing", "embedding_size": 16, "max_side": 12, "max_images": 4, **data}
    return TextToImageConfig.model_validate({"data": settings, "network": {"hidden": {"width": 6}, **(network or {})}})


@pytest.fixture(scope="module")
def trained():
    """A short plain training, long enough for two captions to mean two pictures."""
    settings = config(max_images=2)
    data = TASK.data(settings)
    torch.manual_seed(0)
    network = TASK.network(settings)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(300):
        inputs, target = data.train(torch.randint(data.train.num_samples, (128,)))
        optimizer.zero_grad()
        (network(*inputs) - target).square().mean().backward()
        optimizer.step()
    return settings, data, network


@pytest.mark.parametrize(
    "network",
    [
        {},
        {"normalization": "layer_norm"},
        {"normalization": "none"},
        {"layer_type": "fourier", "num_nodes": 5},
        {"input": {"segments": 9}, "hidden": {"width": 5, "num_layers": 3, "layer_type": "discontinuous"}},
        {"layer_type": "relu"},
    ],
)
def test_count_and_shape(network):
    settings = config(network)
    built = TASK.network(settings)
    inputs, target = TASK.data(settings).train(torch.arange(7))
    assert built(*inputs).shape == target.shape
    assert sum(p.numel() for p in built.parameters()) == TASK.num_parameters(settings)


def test_few_pixels_of_many_captions_come_out_as_many_of_few():
    settings = config()
    network = TASK.network(settings).double()
    dictionary, position = torch.randn(9, 16).double(), torch.rand(20, 2).double()
    caption = torch.randint(9, (20,))
    whole = network(dictionary, caption, position)
    torch.testing.assert_close(network(dictionary, caption[:4], position[:4]), whole[:4])


def test_captions_call_up_their_pictures(trained):
    settings, data, network = trained
    facts = json.loads(json.dumps(data.facts))
    captions = list(data.facts["captions"])
    drawn = {c: TASK.render(network, settings, facts, RenderOptions(caption=c))[0] for c in captions}
    originals = [
        p.view(h, w, 3).float() / 255
        for p, (h, w) in zip(
            torch.split(data.train.colours, [h * w for h, w in data.train.album.sizes]),
            data.train.album.sizes,
            strict=True,
        )
    ]
    for number, caption in enumerate(captions):
        errors = [float((drawn[caption] - original).square().mean()) for original in originals]
        assert errors[number] == min(errors)
        assert errors[number] < 0.06


def test_any_size_and_any_caption(trained):
    settings, data, network = trained
    options = RenderOptions(caption="an astronaut made of bricks", size="20x14")
    frame = TASK.render(network, settings, data.facts, options)
    assert frame.shape == (1, 14, 20, 3)
    assert frame.min() >= 0
    assert frame.max() <= 1
    assert TASK.render(network, settings, data.facts, RenderOptions()).shape == (2, 12, 12, 3)
    assert TASK.render(network, settings, data.facts, RenderOptions(caption="moon")).shape == (1, 256, 256, 3)


def test_new_caption_where_the_data_brought_its_embeddings(trained):
    _, data, network = trained
    settings = config(embedding_column="vector")
    with pytest.raises(RequestError, match=r"only its 2 captions can be drawn; the nearest is 'a wall of bricks'"):
        TASK.render(network, settings, data.facts, RenderOptions(caption="wall of brick"))


def test_pictures_to_watch_training_by(trained):
    _, data, network = trained
    shown = TASK.pictures(network, data)
    assert set(shown) == {"preview", "comparison"}
    assert all(picture.ndim == 3 and 0 <= picture.min() <= picture.max() <= 1 for picture in shown.values())


@pytest.mark.parametrize("options", [{"size": "0x4"}, {"size": "12"}, {"caption": ""}])
def test_render_options_refuse(options):
    with pytest.raises(ValidationError):
        RenderOptions(**options)


def test_one_pixel_wide_is_refused(trained):
    settings, data, network = trained
    with pytest.raises(RequestError, match="size: both sides must be at least 2 pixels, got 1x9"):
        TASK.render(network, settings, data.facts, RenderOptions(caption="moon", size="1x9"))
