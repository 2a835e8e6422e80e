"""Sweeps side by side: numbers, the table and the JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoir_ray.errors import RequestError
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.management.comparison import compare_sweeps
from hoir_ray.results.sweep_results import SweepResults, open_sweep
from tests.report.made import SINGLE, TEXT, made_record, made_sweep

OTHER = TEXT.replace("name: made", "name: other").replace("max_trials: 40", "max_trials: 9").replace("eta: 3", "eta: 4")


def pair(folder: Path) -> dict[str, SweepResults]:
    made_sweep(folder, num_trials=24)
    made_sweep(folder, num_trials=6, text=OTHER)
    return {name: open_sweep(str(folder / name)) for name in ("made", "other")}


def test_the_best_the_fronts_and_how_soon(tmp_path: Path) -> None:
    sweeps = pair(tmp_path)
    compared = compare_sweeps(sweeps)
    made, other = compared.sweeps
    assert made.best == sweeps["made"].leaderboard()[0]
    assert list(made.front) == sweeps["made"].front()
    values = {r.trial: (r.best or {})["val_psnr_db"] for r in sweeps["made"].leaderboard()}
    for percent, trials in ((25, 6), (50, 12), (100, 24)):
        known = [v for name, v in values.items() if int(name[1:]) <= trials]
        assert made.after[percent] == max(known)
    # The trials of the smaller sweep are trials of the larger one too.
    assert made.num_leading == len(made.front)
    assert other.num_leading == sum(r.trial in {m.trial for m in made.front} for r in other.front)
    assert compared.settings == {"budget.max_trials": [40, 9], "early_terminate.eta": [3, 4]}
    assert compared.others == []


def test_sweeps_of_other_metrics_are_measured_by_those_of_the_first(tmp_path: Path) -> None:
    sweeps = pair(tmp_path)
    text = SINGLE.replace("name: made", "name: ssim").replace("val_psnr_db", "val_ssim")
    made_sweep(tmp_path, num_trials=6, text=text)
    compared = compare_sweeps({**sweeps, "ssim": open_sweep(str(tmp_path / "ssim"))})
    assert [each.label for each in compared.others] == ["ssim"]
    assert compared.values(compared.sweeps[2].best).keys() == {"val_psnr_db", "num_parameters"}


def test_a_sweep_without_results_has_no_best(tmp_path: Path) -> None:
    sweeps = pair(tmp_path)
    for number in range(1, 7):
        Ledger(sweeps["other"].storage).save(made_record(number).change(state="PRUNED"))
    compared = compare_sweeps({**sweeps, "other": open_sweep(str(tmp_path / "other"))})
    assert (compared.sweeps[1].best, compared.sweeps[1].after) == (None, {25: None, 50: None, 100: None})
    assert compared.as_dict()["sweeps"][1]["best"] is None


def test_one_is_no_comparison(hoir, tmp_path: Path) -> None:
    made_sweep(tmp_path / "hoir-runs", num_trials=3)
    for arguments in (["made"], ["made", "made"]):
        ended = hoir("compare", *arguments)
        assert (ended.code, "two sweeps or more" in ended.err) == (2, True)
    assert hoir("compare", "made", "maed").code == 2


def test_the_command_prints_tables_and_json(hoir, tmp_path: Path) -> None:
    pair(tmp_path / "hoir-runs")
    shown = hoir("compare", "made", "other")
    assert shown.code == 0
    assert "budget.max_trials" in shown.out
    assert "unbeaten" in shown.out
    listed = json.loads(hoir("compare", "made", "other", "--json").out)
    assert [s["sweep"] for s in listed["sweeps"]] == ["made", "other"]
    assert listed["settings"]["budget.max_trials"] == [40, 9]
    assert listed["sweeps"][0]["best"]["metrics"].keys() == {"val_psnr_db", "num_parameters"}
    made_sweep(tmp_path / "elsewhere", num_trials=3)
    twins = json.loads(hoir("compare", "made", "elsewhere/made", "--json").out)
    assert [s["sweep"] for s in twins["sweeps"]] == ["made", "elsewhere/made"]
    with_page = hoir("compare", "made", "other", "--json", "--out", "compare.html")
    assert json.loads(with_page.out)
    assert "compare.html" in with_page.err


def test_foreign_text_does_not_steer_the_terminal(hoir, tmp_path: Path) -> None:
    pair(tmp_path / "hoir-runs")
    storage = open_sweep(str(tmp_path / "hoir-runs" / "other")).storage
    storage.put("spec.yaml", OTHER.encode() + b'trackers: {jsonl: {"\\e[31m": "[red]"}}\n')
    shown = hoir("compare", "made", "other")
    assert "\x1b" not in shown.out


def test_more_than_two(tmp_path: Path) -> None:
    sweeps = pair(tmp_path)
    with pytest.raises(RequestError):
        compare_sweeps({"made": sweeps["made"]})
    assert len(compare_sweeps({**sweeps, "again": sweeps["made"]}).sweeps) == 3
