"""`hoir compare-codecs`: a file, a folder and a sweep, beside real files of other codecs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoir_ray.packs.compare import publish_curves
from hoir_ray.pictures.codecs import codec_names
from hoir_ray.pictures.load import load_picture
from hoir_ray.pictures.rate_distortion import CodecCurves
from hoir_ray.pictures.save import save_picture
from hoir_ray.results.summary import CODECS
from hoir_ray.results.sweep_results import open_sweep
from hoir_ray.sweep.planning.plan import plan_sweep
from tests.command import Hoir
from tests.trials.test_stored_form import run


@pytest.fixture
def file(hoir: Hoir) -> Path:
    """A small network's file, of a picture in the working directory."""
    save_picture(load_picture("sample:astronaut", max_side=32).float() / 255, Path("picture.png"))
    settings = ("data.image=picture.png", "network.hidden.width=6", "training.max_epochs=2")
    assert hoir("train", "image", *settings, "--to", "net").code == 0
    assert hoir("pack", "net", "--out", "net.hoir").code == 0
    return Path("net.hoir")


def test_a_file_beside_other_codecs(hoir: Hoir, file: Path) -> None:
    outcome = hoir("compare-codecs", file, "data.image=picture.png", "--out", "codecs.html")
    assert outcome.code == 0
    assert "picture.png, 32 x 32 pixels" in outcome.out
    assert f"{file.stat().st_size:,}" in outcome.out
    assert "JPEG" in outcome.out
    assert "JPEG: no stretch of PSNR that both reach." in outcome.out  # of one file there is no curve
    assert Path("codecs.html").read_text().startswith("<!DOCTYPE html>")
    told = json.loads(hoir("compare-codecs", file, "data.image=picture.png", "--json").out)
    assert [p["size_bytes"] for p in told["networks"]] == [file.stat().st_size]
    assert set(told["codecs"]) == set(codec_names())
    assert set(told["bd_rate"]["psnr_db"]) == set(codec_names())


def test_a_folder_is_a_curve(hoir: Hoir, file: Path) -> None:
    told = json.loads(hoir("compare-codecs", "net", "--json").out)
    assert len(told["networks"]) > 1
    assert [p["label"] for p in told["networks"]]


def test_a_sweep_is_its_front(hoir: Hoir, tmp_path: Path) -> None:
    last = run(tmp_path, measures=True)
    told = json.loads(hoir("compare-codecs", tmp_path / "small", "--json").out)
    (ours,) = told["networks"]
    assert ours["label"] == "t0001"
    assert ours["size_bytes"] == last.stored["stored_bytes"]
    assert ours["psnr_db"] == pytest.approx(last.stored["stored_psnr_db"], abs=0.1)
    sweep = open_sweep(str(tmp_path / "small"))
    plan = plan_sweep(sweep.spec)
    publish_curves(sweep, task=plan.task, config=plan.config({"network.hidden.width": 4}))
    curves = CodecCurves.model_validate_json(sweep.storage.get(CODECS))
    assert set(curves.codecs) == set(codec_names())
    assert (curves.height, curves.width) == (24, 24)


def test_bad_requests_are_one_line(hoir: Hoir, file: Path, tmp_path: Path) -> None:
    missing = hoir("compare-codecs", file)
    assert (missing.code, missing.out) == (2, "")
    assert "does not name its data; give it as data.image=" in missing.err
    elsewhere = hoir("compare-codecs", file, "data.image=gone.png")
    assert "gone.png: no such file" in elsewhere.err
    assert "Traceback" not in elsewhere.err
    Path("cut.hoir").write_bytes(file.read_bytes()[:-1])
    assert hoir("compare-codecs", "cut.hoir", "data.image=picture.png").code != 0
    assert hoir("compare-codecs", "nothing").code == 2
    run(tmp_path / "runs", measures=False)
    none = hoir("compare-codecs", tmp_path / "runs/small")
    assert none.code == 2
    assert "keeps no network as one file; name stored_psnr_db or stored_bytes in its metrics" in none.err
