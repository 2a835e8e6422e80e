"""The network of a shrunk picture, drawn at the size that the picture had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from hoir_ray.errors import DataError, SpecError
from hoir_ray.packs.evaluate import measure
from hoir_ray.packs.load import load as load_pack
from hoir_ray.packs.train import train_pack
from hoir_ray.pictures.coordinates import pixel_positions, positions_before_shrinking
from hoir_ray.pictures.load import load_picture, picture_size
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.sweep.planning.plan import Plan, plan_sweep
from hoir_ray.tasks.image import enlarged
from hoir_ray.tasks.image.config import ImageConfig
from hoir_ray.tasks.image.data import load
from hoir_ray.tasks.image.enlarged import measure_end
from hoir_ray.training.loop import Epoch

SWEEP = """\
name: small
task: image
data: {image: "sample:astronaut", max_side: 32}
metric: {name: val_full_psnr_db, goal: maximize}
parameters:
  network.layer_type: {values: [continuous]}
  network.hidden.width: {values: [2, 40]}
budget: {max_trials: 2}
"""


class Grey(nn.Module):
    """Grey as bright as the place is to the right, which no shrinking changes but at the border."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, positions: Tensor) -> Tensor:
        return (positions[:, :1] * self.scale).expand(-1, 3)


def config(image: object, **data: object) -> ImageConfig:
    return ImageConfig.model_validate({"data": {"image": str(image), "num_rotations": 1, **data}})


def measured(config: ImageConfig, *, asked: bool = True) -> dict[str, float]:
    return measure_end(Grey(), config, load(config), asked)


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """A picture that is black on the left and white on the right, 64 x 32 pixels."""
    row = np.linspace(0, 255, 64).round().astype(np.uint8)
    Image.fromarray(np.broadcast_to(row[None, :, None], (32, 64, 3)).copy()).save(tmp_path / "ramp.png")
    return tmp_path / "ramp.png"


def plan_of(text: str) -> Plan:
    document = parse_document(text, name="s.yaml")
    return plan_sweep(build_spec(document), document)


def test_the_network_and_its_small_picture_are_compared_with_the_original(ramp: Path) -> None:
    found = measured(config(ramp, max_side=16))
    original = load_picture(ramp).float() / 255
    positions = positions_before_shrinking(32, 64, shrunk=(8, 16))
    drawn = ((positions[:, 0] + 1) / 2).view(32, 64, 1)
    assert found["val_full_psnr_db"] == pytest.approx(-10 * np.log10(float(((drawn - original) ** 2).mean())), abs=1e-4)
    small = ((pixel_positions(8, 16)[:, :1] + 1) / 2 * 255).round().byte().view(8, 16, 1).expand(-1, -1, 3)
    large = np.array(Image.fromarray(small.numpy().copy()).resize((64, 32), Image.Resampling.BICUBIC)) / 255.0
    by_hand = -10 * np.log10(((large - original.numpy()) ** 2).mean())
    assert found["val_full_bicubic_psnr_db"] == pytest.approx(by_hand, abs=1e-4)


@pytest.mark.parametrize("rows_at_a_time", [1, 7, 1000])
def test_blocks_of_rows_change_nothing(ramp: Path, rows_at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured(config(ramp, max_side=17))
    monkeypatch.setattr(enlarged, "_PIXELS_AT_A_TIME", 64 * rows_at_a_time)
    assert measured(config(ramp, max_side=17)) == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize("data", [{}, {"max_side": 64}, {"max_side": 1000}])
def test_a_picture_that_is_not_shrunk_has_none(ramp: Path, data: dict[str, int]) -> None:
    assert measured(config(ramp, **data)) == {}


def test_a_large_original_is_measured_when_it_is_asked_for(ramp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enlarged, "MAX_UNASKED", 64 * 32 - 1)
    assert measured(config(ramp, max_side=16), asked=False) == {}
    assert len(measured(config(ramp, max_side=16), asked=True)) == 2


def test_an_original_that_went_away_is_an_error_where_it_is_asked_for(ramp: Path) -> None:
    data = load(config(ramp, max_side=16))
    ramp.unlink()
    assert measure_end(Grey(), config(ramp, max_side=16), data, False) == {}
    with pytest.raises(DataError, match="no such file"):
        measure_end(Grey(), config(ramp, max_side=16), data, True)


def test_positions_before_shrinking_are_those_of_the_middles_of_pixels() -> None:
    """Of two pixels that became one, that one's place lies between."""
    small, large = (
        pixel_positions(4, 8, num_rotations=3),
        positions_before_shrinking(8, 16, shrunk=(4, 8), num_rotations=3),
    )
    pairs = large.view(4, 2, 8, 2, 6).mean((1, 3))[1:-1, 1:-1]
    torch.testing.assert_close(pairs, small.view(4, 8, 6)[1:-1, 1:-1])
    assert large.abs().max() <= 1


def test_the_size_of_a_picture_is_read_from_its_header(ramp: Path, tmp_path: Path) -> None:
    assert picture_size(ramp) == (64, 32)
    (tmp_path / "none.png").write_text("no picture")
    for path in (tmp_path / "none.png", tmp_path / "missing.png", tmp_path):
        with pytest.raises(DataError):
            picture_size(path)


def test_a_trained_pack_and_its_evaluation_have_them(ramp: Path, tmp_path: Path) -> None:
    def show(epoch: Epoch, max_epochs: int) -> None:
        assert "val_full_psnr_db" not in epoch.metrics

    settings = [f"data.image={ramp}", "data.max_side=16", "training.max_epochs=1", "network.hidden.width=2"]
    folder, _ = train_pack("image", settings, to=tmp_path / "net", trackers=(), show=show)
    pack = load_pack(folder)
    assert pack.metrics["val_full_psnr_db"] > 0
    assert measure(pack, [])["val_full_psnr_db"] == pytest.approx(pack.metrics["val_full_psnr_db"], abs=1e-4)


def test_a_sweep_can_search_by_it() -> None:
    plan = plan_of(SWEEP + "constraints: [val_full_bicubic_psnr_db > 10]\n")
    assert plan.spec.epoch_metric.name == "val_psnr_db"
    assert not plan.spec.measures_stored_form
    assert plan.refuse({"network.layer_type": "continuous", "network.hidden.width": 2}) is None


@pytest.mark.parametrize(
    ("shrunk", "why"),
    [
        ("max_side: 512", "data.max_side has to be below 512, the picture's longer side"),
        ("num_rotations: 1", "data.max_side has to shrink the picture"),
    ],
)
def test_a_sweep_by_what_no_trial_would_have_is_refused(shrunk: str, why: str) -> None:
    with pytest.raises(SpecError, match=rf"val_full_psnr_db: not measured .*: {why} \(s\.yaml:4\)"):
        plan_of(SWEEP.replace("max_side: 32", shrunk))


def test_a_picture_that_is_elsewhere_is_left_to_its_trials() -> None:
    assert not plan_of(SWEEP.replace("sample:astronaut", "elsewhere.png")).warnings


@pytest.mark.parametrize(
    ("layers", "is_warned"),
    [
        ("network.layer_type: {values: [continuous, discontinuous]}", True),
        ("network.input.layer_type: {value: switch_discontinuous}", True),
        ("network.layer_type: {value: fourier}", False),
    ],
)
@pytest.mark.parametrize("max_side", [32, 512])
def test_seams_are_warned_of_where_the_picture_is_shrunk(layers: str, is_warned: bool, max_side: int) -> None:
    text = SWEEP.replace("network.layer_type: {values: [continuous]}", layers).replace("val_full_", "val_")
    expected = (
        "data.max_side: shrinks the picture to 32; discontinuous layers show seams where it is drawn larger, and "
        "continuous ones do not"
    )
    warnings = [w for w in plan_of(text.replace("max_side: 32", f"max_side: {max_side}")).warnings if "seams" in w]
    assert warnings == ([expected] if is_warned and max_side == 32 else [])
