"""Destinations are tried before the work whose result goes there."""

from __future__ import annotations

import pytest

from hoir_ray.errors import RequestError
from hoir_ray.machine.files import try_destination
from hoir_ray.packs import train as training
from hoir_ray.packs.render import draw
from hoir_ray.results.pull import pull
from tests.report.made import made_sweep


@pytest.fixture
def taken(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    return tmp_path


@pytest.mark.parametrize("place", ["file/below", "file", "full", "x" * 300, "a\0b", "n/" + "x" * 300])
def test_no_pack_goes_where_none_can_be_made(place, taken):
    with pytest.raises(RequestError, match="--to "):
        try_destination(taken / place, is_folder=True, source="--to")


def test_what_can_be_written_leaves_no_trace(taken):
    for place in ("new", "deep/er/new", "file"):
        try_destination(taken / place, source="--out")
    try_destination(taken / "new", is_folder=True, source="--to")
    assert sorted(p.name for p in taken.iterdir()) == ["file", "full"]


def test_nothing_is_trained_for_a_place_that_cannot_be(taken, monkeypatch):
    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(RequestError, match="is a file where a folder is needed"):
        training.train_pack("image", [], to=taken / "file" / "pack", trackers=[], show=lambda *_: None)


@pytest.mark.parametrize("place", ["full", "file/x.png", "x.txt"])
def test_nothing_is_drawn_for_a_place_that_cannot_be(place, taken):
    with pytest.raises(RequestError):
        draw(None, None, out=taken / place)


def test_nothing_is_pulled_to_a_place_that_cannot_be(taken, monkeypatch):
    made = made_sweep(taken / "runs", num_trials=3, pictures=False)
    monkeypatch.setattr(type(made.storage), "get_folder", lambda *_: pytest.fail("downloaded"))
    with pytest.raises(RequestError, match="--to "):
        pull(made, to=taken / "file" / "pack")
