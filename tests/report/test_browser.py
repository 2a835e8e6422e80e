"""The report in a real browser: hover, keyboard, slider, sorting, dark, phone width, and silence on the network."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hoir_ray.report import watch_report, write_report
from hoir_ray.results.summary import TABLE
from hoir_ray.results.sweep_results import open_sweep
from tests.report.made import made_record, made_sweep, save

SCRIPTS = Path(__file__).parent
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # of playwright's own pipe, when it is closed


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return made_sweep(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="module")
def file(sweep, tmp_path_factory):
    return write_report(sweep, tmp_path_factory.mktemp("report") / "report.html")


def opened(watched: Any, file: Path, **options: Any) -> Any:
    page = watched(**options)
    page.open(file.as_uri())
    page.page.wait_for_selector("[data-chart=front][data-drawn]")
    return page


def test_every_chart_draws_and_nothing_leaves_the_page(watched, file):
    page = opened(watched, file)
    for chart in page.page.query_selector_all("[data-chart]"):
        chart.scroll_into_view_if_needed()
        page.page.wait_for_selector(f"[data-chart={chart.get_attribute('data-chart')}][data-drawn]")
    assert page.complaints == []
    assert page.requests == [file.as_uri()]


def test_plotly_sets_up_only_what_the_charts_draw(watched, file):
    page = opened(watched, file).page
    assert set(page.evaluate("Object.keys(Plotly.PlotSchema.get().traces)")) == {"scatter", "bar"}


def test_pointing_at_the_front_shows_the_picture(watched, file, sweep):
    page = opened(watched, file).page
    points = page.query_selector_all("[data-chart=front] .points path.point")
    assert points
    names = set()
    for point in points:
        box = point.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_timeout(80)
        names.add(page.get_attribute("#picked", "data-trial"))
    assert {r.trial for r in sweep.front()} <= names


def test_the_keyboard_alone_walks_the_front_and_moves_the_slider(watched, file, sweep):
    page = opened(watched, file).page
    page.focus("[data-chart=front]")
    walked = []
    for key in ("Home", *["ArrowRight"] * (len(sweep.front()) - 1)):
        page.keyboard.press(key)
        walked.append(page.get_attribute("#picked", "data-trial"))
        assert page.evaluate("document.querySelector('#picked img').naturalWidth") > 0
    assert walked == [r.trial for r in sorted(sweep.front(), key=lambda r: r.num_parameters or 0)]
    page.focus("#slider")
    page.keyboard.press("End")
    assert page.input_value("#slider") == "100"
    assert page.evaluate("document.querySelector('.stack').style.getPropertyValue('--cut')") == "100%"
    page.focus(".skip")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.dataset.chart"))
    assert {"front", "slider", "filter"} <= reached


def test_the_slider_follows_the_mouse(watched, file):
    page = opened(watched, file).page
    page.locator(".stack").scroll_into_view_if_needed()
    box = page.locator(".stack").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + 20)
    assert abs(int(page.input_value("#slider")) - 25) <= 1


def test_sorting_and_filtering_the_trials(watched, file):
    page = opened(watched, file).page
    head = page.locator("#trial-table thead button", has_text="val_psnr_db")
    head.click()
    head.click()
    assert page.locator("#trial-table th[aria-sort=descending]").count() == 1
    shown = page.eval_on_selector_all("#trial-table tbody tr", "rows => rows.map(r => r.cells[2].dataset.value)")
    values = [float(v) for v in shown if v]
    assert values == sorted(values, reverse=True)
    assert all(not v for v in shown[len(values) :])
    page.fill("#filter", "fourier")
    kept = page.eval_on_selector_all(
        "#trial-table tbody tr", "rows => rows.filter(r => !r.hidden).map(r => r.textContent)"
    )
    assert kept
    assert all("fourier" in text for text in kept)


def test_trials_that_were_run_again_stand_below_those_of_the_search(watched, tmp_path):
    made = made_sweep(tmp_path)
    best = made.leaderboard()[0]
    lucky = {**(best.best or {}), "val_psnr_db": 99.0}
    again = best.model_copy(
        update={"trial": "t0099", "number": 99, "replicate_of": best.trial, "seed": 3, "best": lucky, "curve": ()}
    )
    save(made.storage, [again])
    page = opened(watched, write_report(open_sweep(made.storage), tmp_path / "r.html")).page
    assert "1 of them again, with other seeds" in page.inner_text(".facts")
    head = page.locator("#trial-table thead button", has_text="val_psnr_db")
    for _ in range(2):
        head.click()
        rows = page.eval_on_selector_all("#trial-table tbody tr", "rows => rows.map(r => r.dataset.trial)")
        assert rows[-1] == "t0099"
    values = {r.trial: (r.best or {}).get("val_psnr_db", 0.0) for r in made.records}
    assert rows[0] == max(values, key=lambda name: values[name])
    assert f"{best.trial} with seed 3" in page.inner_text("tr[data-trial=t0099]")


def test_weak_trials_are_seen_in_the_dark(watched, file):
    page = opened(watched, file, color_scheme="dark").page
    chart = page.locator("[data-chart=parallel]")
    chart.scroll_into_view_if_needed()
    page.wait_for_selector("[data-chart=parallel][data-drawn]")
    drawn = chart.evaluate("box => box.data.map(t => t.line?.color)")
    assert "#46327e" not in drawn
    page.click("#theme")
    assert "#46327e" in chart.evaluate("box => box.data.map(t => t.line?.color)")


def test_a_phone_breaks_no_word_of_what_was_searched(watched, file):
    page = opened(watched, file, width=390, height=844).page
    longest = page.eval_on_selector_all(
        "#searched td",
        """cells => Math.max(...cells.flatMap(cell => [...cell.textContent.matchAll(/[^ ]+/g)].map(word => {
          const range = document.createRange();
          range.setStart(cell.firstChild, word.index);
          range.setEnd(cell.firstChild, word.index + word[0].length);
          return range.getClientRects().length;
        })))""",
    )
    assert longest == 1


def test_the_numbers_are_those_of_trials_parquet(watched, file, sweep):
    page = opened(watched, file).page
    table = pd.read_parquet(io.BytesIO(sweep.storage.get(TABLE))).set_index("trial")
    rows = page.eval_on_selector_all(
        "#trial-table tbody tr",
        "rows => rows.map(r => [r.dataset.trial, ...[...r.cells].map(c => c.dataset.value ?? c.textContent)])",
    )
    assert len(rows) == len(table)
    for name, _, state, psnr, size, epochs, *_ in rows:
        row = table.loc[name]
        assert row["state"] == state
        assert row["epochs"] == int(epochs)
        assert (psnr == "" and pd.isna(row["metric.val_psnr_db"])) or float(psnr) == row["metric.val_psnr_db"]
        assert float(size) == row["metric.num_parameters"]
    points = page.evaluate("JSON.parse(document.querySelector('#data').textContent).figures.front.data")
    for trace in points:
        for name, y in zip(trace["customdata"], trace["y"], strict=True):
            assert y == table.loc[name, "metric.val_psnr_db"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(watched, file, scheme):
    page = opened(watched, file, color_scheme=scheme).page
    assert page.get_attribute("html", "data-theme") == scheme
    assert min(page.evaluate(SCRIPTS.joinpath("contrast.js").read_text())) >= 4.5


def test_a_phone_scrolls_down_and_not_sideways(watched, file):
    page = opened(watched, file, width=390, height=844)
    assert page.page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.complaints == []


def test_every_control_picture_and_chart_has_a_name(watched, file):
    page = opened(watched, file).page
    assert page.evaluate(SCRIPTS.joinpath("nameless.js").read_text()) == []


def test_markup_in_names_is_shown_as_text(watched, tmp_path):
    evil = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    made = made_sweep(tmp_path)
    records = [r.change(parameters={**r.parameters, "network.layer_type": evil}, reason=evil) for r in made.records]
    sweep = type(made)(made.storage, made.spec, tuple(records))
    page = watched()
    alerts = []

    def note(dialog):
        alerts.append(dialog.message)
        dialog.dismiss()

    page.page.on("dialog", note)
    page.open(write_report(sweep, tmp_path / "report.html").as_uri())
    for chart in page.page.query_selector_all("[data-chart]"):
        chart.scroll_into_view_if_needed()
    page.page.wait_for_timeout(500)
    assert alerts == []
    assert page.page.locator("img[src=x]").count() == 0
    assert evil in page.page.inner_text("#trial-table")
    assert page.complaints == []


def test_a_report_that_is_watched_reloads_itself(watched, tmp_path):
    sweep = made_sweep(tmp_path, num_trials=6)
    address, ready, stop = [], threading.Event(), threading.Event()

    def show(at):
        address.append(at)
        ready.set()

    options = {"out": tmp_path / "report.html", "every_s": 0.2, "show": show, "stop": stop}
    thread = threading.Thread(target=watch_report, args=(lambda: open_sweep(sweep.storage),), kwargs=options)
    thread.start()
    try:
        assert ready.wait(30)
        page = watched()
        page.open(address[0])
        assert page.page.locator("#trial-table tbody tr").count() == 6
        save(sweep.storage, [made_record(7)])
        page.page.wait_for_selector("#trial-table tbody tr:nth-child(7)")
        assert "t0007" in (tmp_path / "report.html").read_text()
        assert all(url.startswith(address[0]) for url in page.requests)
    finally:
        stop.set()
        thread.join()


def test_every_chart_is_there_on_paper(watched, file):
    page = opened(watched, file).page
    assert page.query_selector_all("[data-chart]:not([data-drawn])")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function("!document.querySelector('[data-chart]:not([data-drawn])')")
    assert all(box.query_selector("svg") for box in page.query_selector_all("[data-chart]"))
