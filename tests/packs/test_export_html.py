"""The page that draws a network's picture itself, in a real browser, from disk and without a network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from hoir_ray.networks.config import LayerType, Normalization
from hoir_ray.packs.pack import Pack, write_pack
from hoir_ray.packs.render import read_options
from hoir_ray.tasks import load_task
from hoir_ray.tasks.text_to_image.config import TextToImageFacts
from tests.packs.made import HEIGHT, WIDTH, made_pack

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # of playwright's own pipe, when it is closed
JUMPING = ("discontinuous", "discontinuous_prod", "switch_discontinuous")


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
        # At more, the last bit of an angle is seen, since FINER's frequency grows with what comes in.
        **({"omega": 10.0} if layer_type == "finer" else {}),
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


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["add", "scale_shift", "scale", "shift"])
def test_every_caption_is_drawn_and_shown_as_text(hoir: Any, watched: Any, tmp_path: Path, mode: str) -> None:
    network = {"caption": {"mode": mode, "size": 3}, "hidden": {"width": 10, "num_layers": 2}, "normalization": "l2"}
    pack = made_pack(tmp_path / "pack", network, name="text_to_image")
    assert isinstance(pack.facts, TextToImageFacts)
    page = opened(watched, hoir, pack)
    for number, caption in enumerate(pack.facts.captions):
        apart = np.abs(drawn(page.page, 41, 30, caption=number) - rendered(pack, caption=caption, size="41x30"))
        assert apart.max() <= 1
    assert page.page.inner_text("#caption option >> nth=0") == "<b>a cat</b>"
    page.page.select_option("#caption", "1")
    page.page.wait_for_selector("canvas[data-idle]")
    assert page.page.evaluate("view.caption") == 1


@pytest.fixture(scope="module")
def pack(tmp_path_factory: Any) -> Pack:
    return made_pack(tmp_path_factory.mktemp("made") / "photo", {"layer_type": "continuous"})


def on_screen(page: Any) -> np.ndarray:
    """Bytes of what the canvas shows, once nothing is left to draw."""
    page.wait_for_selector("canvas[data-idle]")
    size = page.evaluate("[canvas.height, canvas.width]")
    numbers = page.evaluate("Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data)")
    return np.array(numbers, float).reshape(*size, 4)


def colours_at(pack: Pack, view: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """Bytes of what the pack's network has at every pixel of the screen."""
    x = 2 * (view["left"] + np.arange(shape[1])) / ((WIDTH - 1) * view["scale"]) - 1
    y = 2 * (view["top"] + np.arange(shape[0])) / ((HEIGHT - 1) * view["scale"]) - 1
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    assert pack.task.colours is not None
    with torch.inference_mode():
        colours = pack.task.colours(pack.network, pack.config, pack.facts, torch.tensor(places, dtype=torch.float32))
    return (colours * 255).round().numpy().reshape(*shape[:2], 3)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["webgl2", "javascript"])
def test_the_keyboard_alone_zooms_to_what_render_draws(hoir: Any, watched: Any, pack: Pack, engine: str) -> None:
    page = opened(watched, hoir, pack, engine=engine, width=320, height=260).page
    page.keyboard.press("Tab")  # over the buttons to the picture
    while page.evaluate("document.activeElement.tagName") != "CANVAS":
        page.keyboard.press("Tab")
    for key in ("+", "+", "ArrowRight", "ArrowDown", "+"):
        page.keyboard.press(key)
    shown = on_screen(page)
    view = page.evaluate("view")
    assert (shown[..., 3] == 255).all()
    assert np.abs(shown[..., :3] - colours_at(pack, view, shown.shape)).max() <= 1
    page.keyboard.press("0")
    on_screen(page)
    assert page.evaluate("view.scale") < view["scale"] / 4


def test_ten_levels_deep_the_picture_is_still_drawn(hoir: Any, watched: Any, pack: Pack) -> None:
    page = opened(watched, hoir, pack, engine="javascript", width=300, height=240).page
    page.focus("canvas")
    for _ in range(10):
        page.keyboard.press("+")
    shown = on_screen(page)[..., :3]
    view = page.evaluate("view")
    assert view["scale"] > 1000
    assert np.abs(shown - colours_at(pack, view, shown.shape)).max() <= 1


def test_fits_a_phone_and_takes_fingers_and_the_dark(hoir: Any, watched: Any, pack: Pack) -> None:
    page = opened(watched, hoir, pack, engine="javascript", width=360, height=640, color_scheme="dark").page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    before = page.evaluate("view.scale")
    page.evaluate("""() => {
        const send = (name, id, x, y) => canvas.dispatchEvent(
            new PointerEvent(name, { pointerId: id, clientX: x, clientY: y, bubbles: true }));
        canvas.setPointerCapture = () => {};
        send("pointerdown", 1, 170, 300); send("pointerdown", 2, 190, 300);
        send("pointermove", 2, 250, 300); send("pointerup", 1, 170, 300); send("pointerup", 2, 250, 300);
    }""")
    assert page.evaluate("view.scale") == pytest.approx(4 * before)
    with page.expect_download() as saved:
        page.click("#save")
    assert saved.value.suggested_filename == "photo.png"


def test_without_webgl2_it_draws_in_plain_javascript(hoir: Any, watched: Any, pack: Pack) -> None:
    file = pack.folder.with_name("no-webgl.html")
    hoir("export", pack.folder, "--format", "html", "--out", file)
    page = watched(width=300, height=240)
    page.page.add_init_script(
        "HTMLCanvasElement.prototype.getContext = (get => function (kind, ...more) {"
        " return kind === 'webgl2' ? null : get.call(this, kind, ...more); })"
        "(HTMLCanvasElement.prototype.getContext)"
    )
    page.open(f"{file.as_uri()}#webgl2")
    assert page.page.get_attribute("html", "data-engine") == "javascript"
    assert np.abs(drawn(page.page, WIDTH, HEIGHT) - rendered(pack)).max() <= 1


def test_a_name_cannot_run_in_the_page(hoir: Any, tmp_path: Path) -> None:
    made = made_pack(tmp_path / "</script><script>alert(1)<script>", {})
    hoir("export", made.folder, "--format", "html", "--out", "x.html")
    page = (tmp_path / "x.html").read_text()
    assert "alert(1)<script>" not in page
    model = re.search(r'id="model">(.*?)</script>', page)
    assert model is not None
    assert json.loads(model[1])["name"] == made.folder.name


@pytest.mark.parametrize(
    ("name", "network", "says"),
    [
        ("image", {"hidden": {"width": 1024}}, "at most 2,000,000 numbers, got 5,278,720"),
        ("neighborhood", {}, "represents no picture of its own"),
        ("random_interpolation", {}, "represents no picture of its own"),
    ],
)
def test_says_what_has_no_page(hoir: Any, tmp_path: Path, name: str, network: dict[str, Any], says: str) -> None:
    task = load_task(name)
    config = task.config.model_validate({"network": network})
    facts: dict[str, Any] = {
        "image": {"height": 8, "width": 8, "num_pixels": 64},
        "neighborhood": {"num_train_positions": 1, "num_held_out_positions": 0},
        "random_interpolation": {"num_train_pictures": 1, "num_val_pictures": 0, "num_test_pictures": 0},
    }[name]
    write_pack(
        tmp_path / "pack",
        task=task,
        config=config,
        facts=task.facts.model_validate(facts),
        state=task.network(config).state_dict(),
        metrics={},
        preview=torch.zeros(8, 8, 3),
    )
    outcome = hoir("export", tmp_path / "pack", "--format", "html", "--out", "x.html")
    assert outcome.code == 2
    assert says in outcome.err
    assert not (tmp_path / "x.html").exists()
