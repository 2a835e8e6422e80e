"""The Python API: light to import, sweeps as tables and figures, packs as torch modules that show their picture."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import hoir_ray
from hoir_ray.errors import PackError, RequestError, SpecError
from hoir_ray.packs.pack import write_pack
from hoir_ray.report.charts import CHARTS
from hoir_ray.storage import open_storage
from hoir_ray.tasks import load_task
from tests.packs.made import made_pack
from tests.report.made import made_sweep

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, hoir_ray; print([m for m in ('torch', 'ray', 'optuna', 'pandas', 'plotly') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_public_names():
    assert hoir_ray.__all__ == ["__version__", "load", "open_storage", "open_sweep", "run_sweep"]
    assert set(hoir_ray.__all__) <= set(dir(hoir_ray))
    assert callable(hoir_ray.run_sweep)
    with pytest.raises(AttributeError, match="no attribute 'swep'"):
        _ = hoir_ray.swep


@pytest.fixture
def found(tmp_path):
    made = made_sweep(tmp_path)
    return hoir_ray.open_sweep(made.storage.uri)


def test_a_sweep_as_tables(found):
    assert len(found.trials) == 24
    assert found.best.trial == found.opened.leaderboard()[0].trial
    assert list(found.pareto.index) == [r.trial for r in found.opened.front()]
    assert "24" not in found.best.trial
    assert "finished" in found._repr_html_()


def test_all_sweeps_of_a_storage(tmp_path):
    made_sweep(tmp_path, num_trials=6)
    hostile = open_storage(str(tmp_path)).child("<script>alert(1)<")
    hostile.put("spec.yaml", b"name: [")
    opened = hoir_ray.open_storage(tmp_path)
    assert {entry.name: entry.state for entry in opened} == {
        "made": "finished",
        hostile.uri.rpartition("/")[2]: "broken",
    }
    assert len(opened) == 2
    assert "made" in opened
    assert "other" not in opened
    assert opened["made"].best.trial == opened["made"].opened.leaderboard()[0].trial
    with pytest.raises(RequestError, match="Did you mean 'made'"):
        opened["mad"]
    assert opened.table.loc["made", "best_trial"] == opened["made"].best.trial
    shown = opened._repr_html_()
    assert "2 finished" in shown
    assert "<script>" not in shown
    assert str(tmp_path) in repr(opened)
    made_sweep(tmp_path, num_trials=9)
    assert "3 finished" in opened._repr_html_()
    empty = hoir_ray.open_storage(tmp_path / "empty")
    assert (len(empty), len(empty.table)) == (0, 0)
    assert "no sweep in" in empty._repr_html_()


def test_every_figure_is_plotly_s(found):
    import plotly.graph_objects as go

    for name in CHARTS:
        assert isinstance(found.figure(name), go.Figure)
    with pytest.raises(RequestError, match="Did you mean 'front'"):
        found.figure("frnt")


def test_a_sweep_without_a_finished_trial_says_so(tmp_path):
    found = hoir_ray.open_sweep(made_sweep(tmp_path, num_trials=0).storage.uri)
    with pytest.raises(RequestError, match="no finished trial"):
        _ = found.best
    with pytest.raises(RequestError, match="No trial has finished"):
        found.figure("front")
    assert found.trials.empty
    assert "none" in found._repr_html_()


@pytest.fixture
def pack(tmp_path):
    task = load_task("image")
    config = task.config.model_validate(
        {"data": {"max_side": 20, "num_rotations": 2}, "network": {"hidden": {"width": 8}}}
    )
    data = task.data(config)
    torch.manual_seed(0)
    network = task.network(config)
    write_pack(
        tmp_path / "pack",
        task=task,
        config=config,
        facts=task.facts(height=12, width=20, num_pixels=240),
        state=network.state_dict(),
        metrics={"val_psnr_db": 20.0},
        preview=task.pictures(network, data)["preview"],
    )
    return tmp_path / "pack"


def test_a_pack_maps_positions_to_the_colours_that_render_draws(pack):
    network = hoir_ray.load(pack)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 12), torch.linspace(-1, 1, 20), indexing="ij")
    grid = torch.stack([x.flatten(), y.flatten()], dim=1)
    with torch.no_grad():
        colours = network(grid)
    drawn = torch.frombuffer(bytearray(network.render().tobytes()), dtype=torch.uint8).view(-1, 3)
    assert (colours.mul(255).round() - drawn).abs().max() <= 1
    assert network.render(size="7x5").size == network.render((7, 5)).size == (7, 5)
    assert next(network.parameters()).requires_grad


def test_a_pack_shows_its_picture(pack):
    network = hoir_ray.load(pack)
    assert Image.open(io.BytesIO(network._repr_png_())).size == (20, 20)
    assert "val_psnr_db" in network._repr_html_()
    with pytest.raises(PackError):
        hoir_ray.load(pack.parent / "nothing")


def test_a_wrong_spec_is_refused_as_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = {"name": "x", "task": "image", "metric": {"name": "val_psnr"}, "budget": {"max_trials": 1}}
    with pytest.raises(SpecError, match="Did you mean 'val_psnr_db'"):
        hoir_ray.run_sweep({**spec, "parameters": {"network.hidden.width": {"min": 2, "max": 3}}})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of the kernel's own channels
def test_the_example_notebook_runs(tmp_path, monkeypatch):
    import nbclient
    import nbformat

    monkeypatch.setitem(os.environ, "RAY_USAGE_STATS_ENABLED", "0")
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in data for data in shown)
    assert any("application/vnd.plotly.v1+json" in data for data in shown)


def test_a_network_shows_its_zoomable_picture(tmp_path):
    made_pack(tmp_path / "pack", {"layer_type": "continuous"})
    shown = hoir_ray.load(tmp_path / "pack")._repr_html_()
    assert 'sandbox="allow-scripts allow-downloads"' in shown
    assert "WebGLNetwork" in shown
    assert "<script" not in shown  # all of the page is inside the attribute
