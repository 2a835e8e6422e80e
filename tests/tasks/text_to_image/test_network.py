"""The network against its parts, its count, and pictures drawn from a pack's facts alone."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from hoir_ray.errors import RequestError
from hoir_ray.tasks.text_to_image import TASK
from hoir_ray.tasks.text_to_image.config import RenderOptions, TextToImageConfig
from hoir_ray.tasks.text_to_image.render import path_between


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
        {"caption": {"mode": "add"}},
        {"caption": {"mode": "add"}, "normalization": "layer_norm"},
        {"caption": {"mode": "scale", "size": 3}, "hidden": {"width": 6, "num_layers": 0}},
        {"caption": {"mode": "shift"}, "normalization": "none"},
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
    facts = TASK.facts.model_validate_json(data.facts.model_dump_json())
    captions = list(data.facts.captions)
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


def test_pictures_of_the_dictionary_keep_their_shapes(trained):
    settings, data, network = trained
    facts = data.facts.model_copy(update={"sizes": ("12x6", "5x10")})
    frames = TASK.render(network, settings, facts, RenderOptions())
    assert frames.shape == (2, 10, 12, 3)
    painted = (frames < 1).any(dim=3)
    rows, columns = painted.any(dim=2), painted.any(dim=1)
    assert [int(r.sum()) for r in rows] == [6, 10]
    assert [int(c.sum()) for c in columns] == [12, 5]
    larger = TASK.render(network, settings, facts, RenderOptions(size="40x40"))
    painted = (larger < 1).any(dim=3)
    assert [int(r.sum()) for r in painted.any(dim=2)] == [20, 40]
    assert [int(c.sum()) for c in painted.any(dim=1)] == [40, 20]


def test_any_size_and_any_caption(trained):
    settings, data, network = trained
    options = RenderOptions(caption="an astronaut made of bricks", size="20x14")
    frame = TASK.render(network, settings, data.facts, options)
    assert frame.shape == (1, 14, 20, 3)
    assert frame.min() >= 0
    assert frame.max() <= 1
    assert TASK.render(network, settings, data.facts, RenderOptions()).shape == (2, 12, 12, 3)
    assert TASK.render(network, settings, data.facts, RenderOptions(caption="moon")).shape == (1, 256, 256, 3)


def test_a_modulation_is_what_the_caption_says_of_a_layer():
    settings = config({"hidden": {"width": 6, "num_layers": 0}, "normalization": "none"})
    network = TASK.network(settings)
    dictionary, position = torch.randn(2, 16), torch.rand(5, 2) * 2 - 1
    code = torch.tanh(network.code(4 * dictionary / dictionary.norm(dim=1, keepdim=True)))
    scale, shift = network.modulations[0](code[1]).chunk(2)
    expected = network.output(network.layers[0](position) * (1 + scale) + shift)
    torch.testing.assert_close(network(dictionary, torch.ones(5, dtype=torch.int64), position), expected)


def test_between_two_captions_pictures_change_little_by_little(trained):
    settings, data, network = trained
    first, last = data.facts.captions
    frames = TASK.render(network, settings, data.facts, RenderOptions(first=first, last=last, num_frames=12))
    ends = [TASK.render(network, settings, data.facts, RenderOptions(caption=c))[0] for c in (first, last)]
    torch.testing.assert_close(frames[[0, -1]], torch.stack(ends), atol=1e-4, rtol=0)
    steps = (frames[1:] - frames[:-1]).square().mean(dim=(1, 2, 3)).sqrt()
    whole = float((ends[1] - ends[0]).square().mean().sqrt())
    assert float(steps.max()) < 0.5 * whole


def test_a_way_from_a_caption_that_is_not_there_says_what_is_near(trained, caplog):
    settings, data, network = trained
    last = data.facts.captions[0]
    frames = TASK.render(network, settings, data.facts, RenderOptions(first="bricks", last=last, num_frames=3))
    assert frames.shape[0] == 3
    assert "'bricks' is not in the dictionary; the nearest, by cosine similarity: 'a wall of bricks' (" in caplog.text
    given = settings.model_copy(update={"data": settings.data.model_copy(update={"embedding_column": "vector"})})
    with pytest.raises(RequestError, match=r"caption: 'bricks' is not in the dictionary, .* the nearest is 'a wall of"):
        TASK.render(network, given, data.facts, RenderOptions(first="bricks", last=last, num_frames=3))


def test_a_way_from_a_caption_to_itself_is_still():
    same = torch.randn(16)
    path = path_between(same, same * 3, num=3)
    torch.testing.assert_close(torch.stack(path), (same / same.norm()).expand(3, 16))


def test_of_an_unknown_caption_the_nearest_are_named(trained, caplog):
    settings, data, network = trained
    TASK.render(network, settings, data.facts, RenderOptions(caption="a wall of\x1b[31m bricks!", size="4x4"))
    assert "'a wall of\\x1b[31m bricks!' is not in the dictionary" in caplog.text
    assert caplog.text.index("'a wall of bricks' (") < caplog.text.index("astronaut")


def test_packs_from_before_captions_modulated_add_them():
    before = {"network": {"hidden": {"width": 6}}, "data": {"text_model": "hashing", "embedding_size": 16}}
    assert TASK.config.model_validate(TASK.upgrade(before)).network.caption.mode == "add"
    today = config({"caption": {"mode": "shift"}}).model_dump(mode="json")
    assert TASK.config.model_validate(TASK.upgrade(today)).network.caption.mode == "shift"


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


@pytest.mark.parametrize(
    "options",
    [
        {"size": "0x4"},
        {"size": "12"},
        {"caption": ""},
        {"from": "moon"},
        {"from": "a", "to": "b", "caption": "c"},
        {"num_frames": 1},
    ],
)
def test_render_options_refuse(options):
    with pytest.raises(ValidationError):
        RenderOptions(**options)


def test_one_pixel_wide_is_refused(trained):
    settings, data, network = trained
    with pytest.raises(RequestError, match="size: both sides must be at least 2 pixels, got 1x9"):
        TASK.render(network, settings, data.facts, RenderOptions(caption="moon", size="1x9"))
