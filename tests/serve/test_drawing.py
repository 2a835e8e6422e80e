"""Tiles of pictures, beside `hoir render --region`, and the page that zooms into them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hoir_ray.errors import RequestError
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.sweep_results import SweepResults, open_sweep
from hoir_ray.serve.drawing import MAX_DEPTH, Drawings, region_of
from tests.chromium import Watched
from tests.packs.made import made_pack
from tests.report.made import SINGLE, made_sweep
from tests.serve.served import Served, served

DEEP = (10, 341, 682)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_pack(tmp_path_factory.mktemp("made") / "photo", {"layer_type": "continuous"}).folder


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, pack: Path) -> SweepResults:
    """A sweep whose first finished trial has a pack of the task image."""
    made = made_sweep(tmp_path_factory.mktemp("runs"), num_trials=4, text=SINGLE)
    made.storage.put_folder("models/t0001-abc", pack)
    Ledger(made.storage).save(made.trial("t0001").model_copy(update={"model": "models/t0001-abc"}))
    return open_sweep(made.storage)


@pytest.fixture(scope="module")
def pages(opened: SweepResults) -> Iterator[Served]:
    assert opened.storage.folder is not None
    with served(str(opened.storage.folder.parent)) as found:
        yield found


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image).astype(int)


@pytest.mark.parametrize("place", [(0, 0, 0), (3, 5, 2), DEEP])
def test_a_tile_is_what_render_draws_of_its_region(
    pages: Served, opened: SweepResults, hoir, pack: Path, tmp_path: Path, place: tuple[int, int, int]
) -> None:
    answer = pages.get("/sweeps/made/trials/t0001/tiles/{}/{}/{}.png".format(*place))
    assert answer.headers["content-type"] == "image/png"
    tile = pixels(answer.body)
    region = ",".join(map(repr, region_of(*place)))
    size = f"{tile.shape[1]}x{tile.shape[0]}"
    out = tmp_path / "region.png"
    assert hoir("render", str(pack), "--region", region, "--size", size, "--out", str(out)).code == 0
    assert np.abs(tile - pixels(out.read_bytes())).max() <= 1


def test_the_deepest_tiles_are_drawn_in_64_bits(opened: SweepResults) -> None:
    """A place has one colour from whatever depth it is drawn, and the middle of the picture is on each."""
    drawn = Drawings().open(opened, "t0001")
    half = 2 ** (MAX_DEPTH - 1)
    deepest = pixels(drawn.tile(MAX_DEPTH, half, half))
    assert np.ptp(deepest, axis=(0, 1)).max() <= 1
    assert np.abs(deepest[0, 0] - pixels(drawn.tile(1, 1, 1))[0, 0]).max() <= 1


@pytest.mark.parametrize("place", ["-1/0/0", "41/0/0", "2/4/0", "2/0/4", "1000000/0/0"])
def test_a_tile_that_is_none_is_refused(pages: Served, place: str) -> None:
    answer = pages.get(f"/sweeps/made/trials/t0001/tiles/{place}.png")
    assert answer.status == 404


def test_a_caption_is_none_of_the_task_image(pages: Served) -> None:
    answer = pages.get("/sweeps/made/trials/t0001/tiles/0/0/0.png?caption=cat")
    assert answer.status == 404
    assert b"caption" in answer.body


def test_a_trial_without_a_pack_cannot_be_drawn(pages: Served) -> None:
    assert b"left no model" in pages.get("/sweeps/made/trials/t0002/view").body


def test_a_dictionary_draws_each_caption_in_its_shape(tmp_path: Path) -> None:
    pack = made_pack(tmp_path / "dictionary", {"layer_type": "continuous"}, name="text_to_image")
    assert pack.task.views is not None
    assert all(min(size) >= 2 for size in pack.task.views(pack.facts).values())
    made = made_sweep(tmp_path / "runs", num_trials=1, text=SINGLE)
    made.storage.put_folder("models/t0001-abc", pack.folder)
    Ledger(made.storage).save(made.trial("t0001").model_copy(update={"model": "models/t0001-abc"}))
    drawn = Drawings().open(open_sweep(made.storage), "t0001")
    caption = next(iter(drawn.views))
    assert pixels(drawn.tile(0, 0, 0, caption=caption)).shape[:2] == drawn.tile_size(caption)
    assert pixels(drawn.tile(12, 0, 0, caption=caption)).shape[:2] == drawn.tile_size(caption)


def test_only_so_many_packs_are_kept(opened: SweepResults) -> None:
    drawings = Drawings(max_packs=1)
    first = drawings.open(opened, "t0001")
    assert drawings.open(opened, "t0001") is first
    with pytest.raises(RequestError, match="has no trial"):
        drawings.open(opened, "t0099")


def test_zooming_with_keys_alone(pages: Served, watched) -> None:
    page: Watched = watched()
    page.open(f"{pages.address}/sweeps/made/trials/t0001/view")
    view = page.page.locator(".view[data-depth]")
    view.wait_for()
    depth = int(view.get_attribute("data-depth") or 0)
    page.page.focus("#main")
    for _ in range(10):
        page.page.keyboard.press("+")
    page.page.keyboard.press("ArrowLeft")
    page.page.locator(f'.view[data-depth="{depth + 10}"]').wait_for()
    shown = page.page.locator(".view img:visible")
    assert shown.count() >= 1
    assert shown.evaluate_all("images => images.every(i => i.naturalWidth > 0)")
    place = page.page.locator("#place").inner_text()
    left, top, right, bottom = map(float, place.removeprefix("--region ").split(","))
    assert 0 < right - left < 2 / 2**8
    assert -1 <= top < bottom <= 1
    page.page.keyboard.press("0")
    page.page.locator("#place", has_text="--region -1,-1,1,1").wait_for()
    assert page.complaints == []
    assert all(r.startswith(pages.address) for r in page.requests)


def test_it_fits_a_telephone(pages: Served, watched) -> None:
    page: Watched = watched(width=390, height=700, color_scheme="dark")
    page.open(f"{pages.address}/sweeps/made/trials/t0001/view")
    page.page.locator(".view[data-depth]").wait_for()
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
