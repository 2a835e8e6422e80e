"""The page of a comparison in a real Chromium."""

from __future__ import annotations

from pathlib import Path

from hoir_ray.report.comparison import write_comparison
from hoir_ray.results.management.comparison import compare_sweeps
from hoir_ray.results.sweep_results import open_sweep
from tests.report.made import TEXT, made_sweep

HOSTILE = "<img src=x onerror=alert(1)>"


def page_of(folder: Path) -> Path:
    made_sweep(folder, num_trials=24)
    other = TEXT.replace("name: made", "name: other").replace("max_trials: 40", "max_trials: 9")
    made = made_sweep(folder, num_trials=9, text=other)
    made.storage.put("spec.yaml", made.storage.get("spec.yaml") + f"trackers: {{jsonl: {{a: '{HOSTILE}'}}}}\n".encode())
    compared = compare_sweeps({name: open_sweep(str(folder / name)) for name in ("made", "other")})
    return write_comparison(compared, folder / "compare.html")


def test_the_page_opens_offline_with_charts_and_pictures(tmp_path: Path, watched) -> None:
    opened = watched()
    opened.open(page_of(tmp_path).as_uri())
    page = opened.page
    for name in ("over-trials", "over-time", "fronts"):
        page.locator(f"#{name}").scroll_into_view_if_needed()
        page.wait_for_selector(f"#{name} [data-drawn]")
        assert page.locator(f"#{name} .legend text").all_text_contents() == ["made", "other"]
    pictures = page.locator("#pictures img")
    assert pictures.first.get_attribute("alt") == "original"
    assert pictures.count() == 3
    assert pictures.evaluate_all("all => all.every(i => i.complete && i.naturalWidth > 0)")
    assert HOSTILE in page.locator("#settings").inner_text()
    page.locator("#theme").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert opened.complaints == []
    assert [r for r in opened.requests if not r.startswith("file:")] == []


def test_a_phone_shows_it_all(tmp_path: Path, watched) -> None:
    opened = watched(width=390, height=800)
    opened.open(page_of(tmp_path).as_uri())
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
