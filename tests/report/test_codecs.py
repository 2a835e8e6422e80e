"""The page of networks' files beside other codecs, and the same curves in a sweep's report; in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hoir_ray.pictures.rate_distortion import CodecCurves, Comparison, Panels, RatePoint
from hoir_ray.report import build_report
from hoir_ray.report.charts.codecs import rate_lines
from hoir_ray.report.codecs import write_comparison
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.summary import CODECS
from hoir_ray.results.sweep_results import open_sweep
from tests.report.made import TEXT, made_sweep

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # of playwright's own pipe, when it is closed


def curve(*, factor: float, label: str = "") -> tuple[RatePoint, ...]:
    sizes = (1000, 2000, 4000, 8000)
    return tuple(
        RatePoint(size_bytes=int(size * factor), psnr_db=20 + 3 * i, ssim=0.5 + 0.1 * i, label=label and f"{label}{i}")
        for i, size in enumerate(sizes)
    )


CURVES = CodecCurves(height=40, width=60, codecs={"JPEG": curve(factor=2), "<b>AVIF": curve(factor=0.5)})


def compared() -> Comparison:
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.randint(0, 256, (40, 60, 3), generator=generator, dtype=torch.uint8) for _ in range(3)]
    ours = curve(factor=1, label="t000")
    return Comparison(
        name="</script>net",
        picture="photo.png",
        ours=ours,
        curves=CURVES,
        equal=tuple({"JPEG": None, "<b>AVIF": p} for p in ours),
        original=pictures[0],
        panels=tuple(
            Panels(label=p.label, size_bytes=p.size_bytes, shown={"network": pictures[1], "JPEG, 9 bytes": pictures[2]})
            for p in ours[:2]
        ),
        missing=("JPEG 2000",),
    )


@pytest.fixture
def page(watched: Any, tmp_path: Path) -> Any:
    opened = watched()
    opened.open(write_comparison(compared(), tmp_path / "codecs.html").as_uri())
    return opened


def test_charts_draw_and_nothing_leaves_the_page(page: Any) -> None:
    for name in ("psnr", "ssim"):
        page.page.query_selector(f"[data-chart={name}]").scroll_into_view_if_needed()
        page.page.wait_for_selector(f"[data-chart={name}][data-drawn]")
    assert page.complaints == []
    assert len(page.requests) == 1
    text = page.page.inner_text("body")
    assert "</script>net" in text
    assert "no JPEG 2000" in text
    assert "no file that small" in text
    assert "Than JPEG the networks need 50.0 % fewer bytes for the same PSNR, on average between 20 and 29 dB" in text


def test_one_zoom_holds_for_all_pictures_and_shows_pixels(page: Any) -> None:
    page = page.page
    images = page.query_selector_all("#side img")
    assert [i.get_attribute("alt") for i in images] == ["original", "network", "JPEG, 9 bytes"]
    assert all(i.evaluate("e => e.naturalWidth") == 60 for i in images)
    page.fill("#zoom", "8")
    assert page.inner_text("#zoomed") == "8 x"
    styles = [
        i.evaluate("e => { const s = getComputedStyle(e); return [s.transform, s.imageRendering] }") for i in images
    ]
    assert styles == [["matrix(8, 0, 0, 8, 0, 0)", "pixelated"]] * 3
    before = [i.bounding_box()["x"] for i in images]
    frame = page.query_selector(".lens")
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    page.mouse.move(box["x"] + 80, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 30, box["y"] + 60)
    page.mouse.up()
    moved = [i.bounding_box()["x"] - x for i, x in zip(images, before, strict=True)]
    assert moved == pytest.approx([-50] * 3, abs=1)
    frame.press("ArrowLeft")
    back = [i.bounding_box()["x"] - x for i, x in zip(images, before, strict=True)]
    assert back[0] > moved[0]
    assert back == pytest.approx([back[0]] * 3, abs=0.01)


def test_another_file_is_chosen_by_its_button(page: Any) -> None:
    page = page.page
    assert page.get_attribute("[data-panel-number='1']", "aria-pressed") == "true"
    page.click("[data-panel-number='0']")
    assert page.get_attribute("[data-panel-number='0']", "aria-pressed") == "true"
    assert len(page.query_selector_all("#side figure")) == 3


def test_a_narrow_page_has_no_sideways_scrolling(watched: Any, tmp_path: Path) -> None:
    opened = watched(width=390, height=800, color_scheme="dark")
    opened.open(write_comparison(compared(), tmp_path / "codecs.html").as_uri())
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_stretch_that_both_do_not_reach_is_said() -> None:
    curves = CURVES.model_copy(update={"codecs": {"WebP": ()}})
    assert rate_lines(curve(factor=1), curves) == ["WebP: no stretch of PSNR that both reach."]


def test_the_report_of_a_sweep_of_files_has_the_curves(tmp_path: Path) -> None:
    made = made_sweep(tmp_path, pictures=False, text=TEXT)
    assert 'id="codecs"' not in build_report(made)
    ledger = Ledger(made.storage)
    for number, record in enumerate(made.leaderboard(), start=1):
        stored = {"stored_bytes": 1000.0 * number, "stored_psnr_db": 20.0 + number, "stored_ssim": 0.5 + number / 100}
        ledger.save(record.with_stored(stored))
    assert 'id="codecs"' not in build_report(open_sweep(made.storage))
    made.storage.put(CODECS, CURVES.model_dump_json().encode())
    page = build_report(open_sweep(made.storage))
    assert 'id="codecs"' in page
    assert 'id="codecs_ssim"' in page
    assert "Than JPEG the networks need" in page
    made.storage.put(CODECS, b"{")
    assert 'id="codecs"' not in build_report(open_sweep(made.storage))
