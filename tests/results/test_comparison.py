"""Sweeps beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoir_ray.errors import RequestError
from hoir_ray.results.comparison import compare_sweeps
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.sweep_results import SweepResults, open_sweep
from tests.report.made import SINGLE, TEXT, made_sweep


def made(folder: Path, name: str, *, num_trials: int, text: str = SINGLE) -> SweepResults:
    sweep = made_sweep(folder / "made", num_trials=num_trials, text=text)
    assert sweep.storage.folder is not None
    sweep.storage.folder.rename(folder / name)
    return open_sweep(str(folder / name))


def test_what_each_found_and_where_they_differ(tmp_path: Path) -> None:
    wide = SINGLE.replace("min: 8, max: 64", "min: 8, max: 128").replace("max_trials: 40", "max_trials: 60")
    short, long = made(tmp_path, "short", num_trials=6), made(tmp_path, "long", num_trials=24, text=wide)
    found = compare_sweeps([short, long])
    assert [m.name for m in found.metrics] == ["val_psnr_db"]
    assert [c.label for c in found.sweeps] == ["short", "long"]
    for each in found.sweeps:
        assert each.best is not None
        values = [metrics_of(r)["val_psnr_db"] for r in each.sweep.leaderboard()]
        assert metrics_of(each.best)["val_psnr_db"] == each.after[-1] == max(values)
        known = [v for v in each.after if v is not None]
        assert known == sorted(known)
    assert set(found.settings) == {"parameters.network.input.segments", "budget.max_trials"}
    assert found.settings["budget.max_trials"] == (40, 60)


def test_a_front_is_over_all_of_them(tmp_path: Path) -> None:
    found = compare_sweeps([made(tmp_path, n, num_trials=24, text=TEXT) for n in ("a", "b")])
    assert len(found.metrics) == 2
    assert [c.front for c in found.sweeps] == [len(c.sweep.front()) for c in found.sweeps]
    assert found.settings == {}


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    one = made(tmp_path, "one", num_trials=6)
    with pytest.raises(RequestError, match="two or more sweeps are compared, got 1"):
        compare_sweeps([one])
    empty = made(tmp_path, "empty", num_trials=0)
    with pytest.raises(RequestError, match="empty: none of its trials has val_psnr_db"):
        compare_sweeps([one, empty])


def test_the_command(tmp_path: Path, hoir) -> None:
    paths = [str(made(tmp_path, n, num_trials=n_trials).storage.uri) for n, n_trials in (("a", 6), ("b", 9))]
    printed = hoir("compare", *paths)
    assert printed.code == 0
    assert "on the front" in printed.out
    both = json.loads(hoir("compare", *paths, "--json").out)
    assert [s["sweep"] for s in both["sweeps"]] == ["a", "b"]
    assert hoir("compare", paths[0]).code == 2
