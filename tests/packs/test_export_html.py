"""The page that draws a network's picture itself, in a real browser, from disk and without a network."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from hoir_ray.networks.config import LayerType, Normalization
from hoir_ray.packs.load import load
from hoir_ray.packs.pack import Pack, write_pack
from hoir_ray.packs.render import read_options
from hoir_ray.tasks import load_task
from hoir_ray.tasks.image.config import ImageFacts
from hoir_ray.tasks.text_to_image.config import TextToImageFacts

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # of playwright's own pipe, when it is closed
HEIGHT, WIDTH = 30, 41
JUMPING = ("discontinuous", "discontinuous_prod", "switch_discontinuous")


def made_pack(folder: Path, network: dict[str, Any], *, rotations: int = 2, name: str = "image") -> Pack:
    """A pack with random weights, large enough that its picture is not of one colour."""
    task = load_task(name)
    data: dict[str, Any] = {"num_rotations": rotations}
    if name == "text_to_image":
        data |= {"text_model": "hashing", "embedding_size": 6}
        vectors = torch.randn(2, 6, generator=torch.Generator().manual_seed(1)).numpy().astype("<f4")
        facts: Any = TextToImageFacts(
            captions=("<b>a cat</b>", "a dog"),
            sizes=("41x30", "20x30"),
            embeddings_f32_base64=base64.b64encode(vectors.tobytes()).decode(),
        )
    else:
        facts = ImageFacts(height=HEIGHT, width=WIDTH, num_pixels=HEIGHT * WIDTH)
    config = task.config.model_validate({"network": {"hidden": {"width": 10}, **network}, "data": data})
    torch.manual_seed(0)
    trained = task.network(config)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.randn_like(parameter) / 4)
    write_pack(
        folder,
        task=task,
        config=config,
        facts=facts,
        state=trained.state_dict(),
        metrics={"val_loss": 0.5},
        preview=torch.zeros(8, 8, 3),
    )
    return load(folder)


def rendered(pack: Pack, **options: Any) -> np.ndarray:
    """What `hoir render` writes, as bytes [height, width, 3]."""
    with torch.inference_mode():
        frame = pack.task.render(pack.network, pack.config, pack.facts, read_options(options, pack.task))[0]
    return (frame * 255).round().numpy()


def drawn(page: Any, width: int, height: int, *, caption: int = 0) -> np.ndarray:
    """What the page draws of the same size."""
    numbers = page.evaluate(
        "([w, h, c]) => Array.from(drawn(range(0, w), range(0, h), w - 1, h - 1, c))", [width, height, caption]
    )
    return np.array(numbers, float).reshape(height, width, 4)[..., :3]


def opened(watched: Any, hoir: Any, pack: Pack, *, engine: str = "webgl2", **options: Any) -> Any:
    file = pack.folder.with_suffix(".html")
    hoir("export", pack.folder, "--format", "html", "--out", file)
    page = watched(**options)
    page.page.context.set_offline(True)
    page.open(f"{file.as_uri()}#{engine}")
    assert page.page.get_attribute("html", "data-engine") == engine, page.page.evaluate("document.title")
    return page


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["webgl2", "javascript"])
@pytest.mark.parametrize("layer_type", get_args(LayerType))
def test_every_layer_type_is_drawn_as_render_draws_it(
    hoir: Any, watched: Any, tmp_path: Path, layer_type: str, engine: str
) -> None:
    norms = get_args(Normalization)
    number = get_args(LayerType).index(layer_type)
    network = {
        "layer_type": layer_type,
        "normalization": norms[number % len(norms)] if "prod" not in layer_type else "max_abs",
        "num_nodes": 2 + number % 6,
        "input": {"segments": 1 + number % 7},
        "output": {"layer_type": "linear"} if number % 2 else {},
    }
    pack = made_pack(tmp_path / "pack", network, rotations=1 + number % 3)
    page = opened(watched, hoir, pack, engine=engine)
    for width, height in ((WIDTH, HEIGHT), (100, 31)):
        expected = rendered(pack, size=f"{width}x{height}")
        assert expected.std() > 5  # a picture of one colour would prove nothing
        apart = np.abs(drawn(page.page, width, height) - expected)
        # Where a link jumps, the last bit of a unit decides on which side of the jump a pixel lies.
        allowed = 0.003 if layer_type in JUMPING else 0
        assert (apart > 1).mean() <= allowed, (apart.max(), (apart > 1).mean())
    assert [c for c in page.complaints if "GL Driver Message" not in c] == []  # of a graphics card made of software
    assert [r for r in page.requests if not r.startswith("file:")] == []
