"""The pages over made sweeps, as a browser's requests and a real Chromium see them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from hoir_ray.results.ledger import Ledger
from hoir_ray.storage import Storage, acquire_lock, open_storage
from hoir_ray.storage.manifest import MANIFEST
from tests.chromium import Watched
from tests.report.made import SINGLE, TEXT, comparison, made_record, made_sweep
from tests.serve.served import Served, served

HOSTILE = ["<img src=x onerror=alert(1)>", '"><script>alert(2)</script>', "{{ 7 * 7 }}", "a b&c?d#e%f", "naïve-ß-日本"]


def make(root: Path, name: str, *, num_trials: int, text: str = SINGLE) -> Storage:
    storage = open_storage(str(root)).child(name)
    made = made_sweep(root / ".made" / str(len(list(root.iterdir()))), num_trials=num_trials, text=text)
    made.storage.folder.rename(root / name)  # type: ignore[union-attr]
    return storage


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty sweeps: one with two metrics and a pack, some with hostile names, one broken, one newer."""
    folder = tmp_path_factory.mktemp("root")
    (folder / ".made").mkdir()
    front = make(folder, "front", num_trials=24, text=TEXT)
    record = Ledger(front).load()[3]
    front.put("models/t0004-abc/config.json", b'{"task": "image"}')
    front.put(f"models/t0004-abc/{MANIFEST}", b"{}")
    Ledger(front).save(record.model_copy(update={"model": "models/t0004-abc"}))
    for number in range(12):
        make(folder, f"plain-{number}", num_trials=3 + number)
    for name in HOSTILE:
        made = make(folder, name.replace("/", "\u2215"), num_trials=3)
        Ledger(made).save(made_record(3).model_copy(update={"reason": HOSTILE[1], "trial": "t0003"}))
    for name, spec in {"broken": b"name: [", "newer": b"teleport: 1\nprovenance: {hoir-ray: 99.0.0}\n"}.items():
        open_storage(str(folder)).child(name).put("spec.yaml", spec)
    (folder / ".made").rename(folder.parent / "made-rest")
    return folder


@pytest.fixture(scope="module")
def pages(root: Path) -> Iterator[Served]:
    with served(str(root)) as found:
        yield found


def test_the_list_has_a_row_for_each(pages: Served) -> None:
    rows = {row["name"]: row for row in pages.get("/sweeps.json").json["sweeps"]}
    assert len(rows) == 20
    assert rows["front"]["href"] == "/sweeps/front"
    assert rows["newer"]["state"] == "newer"
    for row in rows.values():
        if row["state"] not in ("broken", "newer"):
            assert pages.get(row["href"]).status == 200
            assert pages.get(f"{row['href']}/report").status == 200


def test_a_trial_has_its_page_picture_and_pack(pages: Served) -> None:
    page = pages.get("/sweeps/front/trials/t0004").body.decode()
    assert "network.hidden.width" in page
    assert "pack.zip" in page
    assert pages.get("/sweeps/front/trials/t0004/picture.png").body == comparison(4)
    packed = pages.get("/sweeps/front/trials/t0004/pack.zip")
    with zipfile.ZipFile(io.BytesIO(packed.body)) as archive:
        assert archive.read("t0004/config.json") == b'{"task": "image"}'
    assert "front-t0004.zip" in packed.headers["content-disposition"]


def test_names_are_shown_and_never_run(pages: Served) -> None:
    for name in (n.replace("/", "\u2215") for n in HOSTILE):
        for path in ("", "/report", "/trials/t0003"):
            body = pages.get(f"/sweeps/{quote(name, safe='')}{path}").body.decode()
            assert "<script>alert" not in body
            assert "<img src=x" not in body


def test_the_index_in_a_browser(pages: Served, watched) -> None:
    page: Watched = watched()
    page.open(f"{pages.address}/")
    rows = page.page.locator("#sweeps tbody tr")
    assert rows.count() == 20
    shown = page.page.locator("#sweeps tbody th").all_inner_texts()
    assert any(text.startswith("<img src=x onerror=alert(1)>") for text in shown)
    page.page.fill("#search", "plain-1")
    assert sorted(page.page.locator("#sweeps tbody th").all_inner_texts()) == ["plain-1", "plain-10", "plain-11"]
    page.page.fill("#search", "")
    page.page.select_option("#state", "newer")
    assert rows.count() == 1
    page.page.select_option("#state", "")
    page.page.focus('button[data-key="num_trials"]')
    page.page.keyboard.press("Enter")
    page.page.keyboard.press("Enter")
    assert page.page.locator("#sweeps tbody tr").first.get_attribute("data-name") == "front"
    assert page.complaints == []
    assert all(r.startswith(pages.address) for r in page.requests)


def test_a_sweep_and_a_trial_in_a_browser(pages: Served, watched) -> None:
    page: Watched = watched()
    page.open(f"{pages.address}/sweeps/front")
    report = page.page.frame_locator("iframe")
    report.locator("html[data-ready]").wait_for()
    assert "front" in report.locator("h1").inner_text()
    page.page.fill("#trial", "t0004")
    page.page.keyboard.press("Enter")
    page.page.wait_for_url("**/trials/t0004")
    assert page.page.locator("figure img").evaluate("image => image.complete && image.naturalWidth > 0")
    assert page.page.locator("polyline").count() == 1
    page.page.get_by_role("link", name="next").click()
    page.page.wait_for_url("**/trials/t0005")
    assert page.complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1200, "dark")])
def test_no_page_is_wider_than_its_window(pages: Served, watched, width: int, scheme: str) -> None:
    page: Watched = watched(width=width, color_scheme=scheme)
    for path in ("/", "/sweeps/front/trials/t0004"):
        page.page.goto(pages.address + path)
        page.page.wait_for_load_state("networkidle")
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.complaints == []


def test_a_running_sweep_is_fresh(tmp_path: Path, watched) -> None:
    made = made_sweep(tmp_path, num_trials=2, text=SINGLE)
    with served(str(tmp_path)) as pages:
        page: Watched = watched()
        page.open(f"{pages.address}/")
        row = page.page.locator('tr[data-name="made"]')
        assert "2 of 40" in row.inner_text()
        with acquire_lock(made.storage, owner="ada@here"):
            Ledger(made.storage).save(made_record(3))
            page.page.locator('tr[data-name="made"]:has-text("3 of 40"):has-text("running")').wait_for()
        page.page.locator('tr[data-name="made"]:not(:has-text("running"))').wait_for()
        made.storage.delete_all("")
        row.wait_for(state="detached")
        assert page.complaints == []
