"""Checkpoints of the upstream project as model packs: equal outputs, nothing run, and what cannot be read."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from high_order_layers_torch.layers import MaxAbsNormalization
from high_order_layers_torch.networks import HighOrderMLP
from high_order_layers_torch.utils import positions_from_mesh
from omegaconf import OmegaConf

from hoir_ray.errors import HoirError
from hoir_ray.packs.import_checkpoint import import_checkpoint
from hoir_ray.packs.pack import Pack, load_pack
from hoir_ray.pictures.load import load_picture
from hoir_ray.tasks.image.config import ImageFacts
from hoir_ray.tasks.random_interpolation.sampling import positions_of
from tests.networks.references import assert_close

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")  # upstream's mesh of positions

REAL = Path(__file__).parent / "upstream_image.ckpt"  # written by the project's own Net and pytorch_lightning 2.6.6
SUMS = ("continuous", "discontinuous", "polynomial", "fourier", "baseline")
PRODUCTS = ("continuous_prod", "discontinuous_prod", "product")
PICTURE = ["data.image=sample:astronaut", "data.max_side=12"]


def hyperparameters(layer_type: str, *, in_width: int, out_width: int = 3, **own: Any) -> dict[str, Any]:
    mlp = {
        "layer_type": layer_type,
        "n": 3,
        "n_in": None,
        "n_out": 4 if layer_type == "polynomial" else None,
        "input": {"segments": 7, "width": in_width},
        "hidden": {"segments": 2, "layers": 1, "width": 6},
        "output": {"segments": 3, "width": out_width},
    }
    return {"mlp": mlp, "max_epochs": 3, "optimizer": {"name": "adam", "lr": 1e-3, "scheduler": "plateau"}, **own}


def build(given: dict[str, Any]) -> HighOrderMLP:
    """The network as upstream's `Net` builds it, with random weights."""
    mlp = given["mlp"]
    torch.manual_seed(0)
    model = HighOrderMLP(
        layer_type=mlp["layer_type"],
        n=mlp["n"],
        n_in=mlp["n_in"],
        n_hidden=mlp["n_in"],
        n_out=mlp["n_out"],
        in_width=mlp["input"]["width"],
        in_segments=mlp["input"]["segments"],
        out_width=mlp["output"]["width"],
        out_segments=mlp["output"]["segments"],
        hidden_width=mlp["hidden"]["width"],
        hidden_layers=mlp["hidden"]["layers"],
        hidden_segments=mlp["hidden"]["segments"],
        normalization=MaxAbsNormalization,
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("result"):
                parameter.add_(torch.randn_like(parameter) / 20)
            else:
                parameter.zero_()
    return model


def switches(layer_type: str) -> HighOrderMLP:
    return HighOrderMLP(layer_type, 3, 2, 3, 1, 6, in_segments=2, hidden_segments=2, out_segments=2)


def save(path: Path, model: torch.nn.Module, given: object) -> Path:
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 2, "state_dict": state, "hparams_name": "cfg", "hyper_parameters": given}, path)
    return path


def imported(path: Path, to: Path, settings: list[str], *, task: str | None = None) -> Pack:
    import_checkpoint(path, settings, task=task, to=to)
    return load_pack(to)


def upstream_picture(model: torch.nn.Module, *, height: int, width: int, rotations: int) -> torch.Tensor:
    """What upstream's `implicit_images.py` draws; its width is the number of rows."""
    axes = positions_from_mesh(width=height, height=width, device="cpu", rotations=rotations, normalize=True)
    positions = torch.stack(axes, dim=2).reshape(-1, 2 * rotations)
    with torch.no_grad():
        return ((model(positions) + 1) / 2).clamp(0, 1).view(height, width, 3)


def test_a_checkpoint_of_the_project_itself(hoir: Any, tmp_path: Path) -> None:
    written = hoir("import", REAL, *PICTURE, "--to", tmp_path / "pack")
    assert "val_psnr_db" in written.out
    pack = load_pack(tmp_path / "pack")
    assert pack.config.network.input.segments == 6
    assert pack.config.training.optimizer.lr == 1e-2
    mlp = {
        "layer_type": "continuous",
        "n": 3,
        "n_in": None,
        "n_out": None,
        "input": {"segments": 6, "width": 4},
        "hidden": {"segments": 2, "layers": 1, "width": 5},
        "output": {"segments": 2, "width": 3},
    }
    theirs = build({"mlp": mlp})
    with pytest.raises(Exception, match="weights_only"):  # torch alone would have to run what is in the file
        torch.load(REAL, weights_only=True)
    trusted = torch.load(REAL, weights_only=False)["state_dict"]
    theirs.load_state_dict({name.removeprefix("model."): tensor for name, tensor in trusted.items()})
    assert isinstance(pack.facts, ImageFacts)
    height, width = pack.facts.height, pack.facts.width
    drawn = pack.task.render(pack.network, pack.config, pack.facts, pack.task.render_options())[0]
    assert_close(drawn, upstream_picture(theirs, height=height, width=width, rotations=2), tolerance=1e-5)
    assert drawn.std() > 0.01


@pytest.mark.parametrize("layer_type", SUMS)
@pytest.mark.parametrize("rotations", [1, 3])
def test_the_picture_is_upstreams(layer_type: str, rotations: int, tmp_path: Path) -> None:
    given = hyperparameters(layer_type, in_width=2 * rotations, images=["x.jpg"], rotations=rotations)
    model = build(given)
    path = save(tmp_path / "c.ckpt", model, OmegaConf.create(given))
    pack = imported(path, tmp_path / "pack", PICTURE)
    # A size none of whose pixels lies on a border of segments, where upstream's rounding would decide.
    size = pack.task.render_options(size="16x16")
    drawn = pack.task.render(pack.network, pack.config, pack.facts, size)[0]
    assert_close(drawn, upstream_picture(model, height=16, width=16, rotations=rotations), tolerance=1e-4, at_least=1.0)
    assert pack.config.training.scheduler.name == "plateau"
    assert pack.metrics["num_parameters"] == sum(p.numel() for p in pack.network.parameters())


@pytest.mark.parametrize("layer_type", [*SUMS, *PRODUCTS])
def test_the_filter_is_upstreams(layer_type: str, tmp_path: Path) -> None:
    data = {"width": 2, "outside": 1}
    given = hyperparameters(layer_type, in_width=36, out_width=12, images=["x.jpg"], data=data)
    model = build(given)
    settings = ["data.images=sample:astronaut", "data.max_side=12", "data.val_fraction=0"]
    pack = imported(save(tmp_path / "c.ckpt", model, given), tmp_path / "pack", settings)
    samples = pack.task.data(pack.config).val
    (features,), _ = samples(torch.arange(8))
    picture = (load_picture("sample:astronaut", max_side=12).float() * 2 / 255 - 1).permute(2, 0, 1)
    ring = torch.ones(4, 4, dtype=torch.bool)
    ring[1:3, 1:3] = False
    theirs = []
    for start in samples.starts[:8].tolist():  # type: ignore[operator, union-attr]
        row, column = divmod(start, picture.shape[2])
        patch = picture[:, row : row + 4, column : column + 4]
        theirs.append(patch[:, ring].flatten())
    with torch.no_grad():
        block = model(torch.stack(theirs)).view(8, 3, 4).permute(0, 2, 1).flatten(1)  # pixel by pixel
        assert_close(pack.network(features), block, tolerance=1e-4, at_least=1.0)


@pytest.mark.parametrize("layer_type", SUMS)
def test_the_generator_is_upstreams(layer_type: str, tmp_path: Path) -> None:
    side, num, rotations = 8, 4, 2
    own = {"folder": "images", "image_size": side, "num_feature_pixels": num, "rotations": rotations, "split_frac": 0.5}
    given = hyperparameters(layer_type, in_width=num * (3 + 2 * rotations), **own)
    given["mlp"]["input"]["segments"] = "${image_size}"
    path = save(
        tmp_path / "c.ckpt", build({**given, "mlp": {**given["mlp"], "input": {"segments": 8, "width": 28}}}), given
    )
    pack = imported(path, tmp_path / "pack", ["data.folder=sample:photos"])
    assert pack.config.network.input.segments == side
    model = build({**given, "mlp": {**given["mlp"], "input": {"segments": 8, "width": 28}}})

    mesh = torch.stack(positions_from_mesh(width=side, height=side, device="cpu", rotations=rotations, normalize=True))
    rows, columns = torch.randint(side, (50, num + 1)), torch.randint(side, (50, num + 1))
    colours = torch.rand(50, num, 3) * 2 - 1
    axes = mesh[:, rows, columns].permute(1, 2, 0)
    theirs = torch.cat([colours, axes[:, 1:] - axes[:, :1]], dim=2).flatten(1)
    steps = (rows[:, 1:] - rows[:, :1]).int(), (columns[:, 1:] - columns[:, :1]).int()
    relative = positions_of(*(s.flatten() for s in steps), side=side, num_rotations=rotations)
    with torch.no_grad():
        ours = pack.network(torch.cat([colours.flatten(1), relative.view(50, -1)], dim=1))
        differs = (ours - model(theirs)).abs().max(dim=1)[0] > 1e-3
    # Steps of whole pixels lie on borders of segments, where rounding decides which link of a discontinuous layer is
    # taken; elsewhere there is none.
    assert differs.sum() <= (10 if layer_type == "discontinuous" else 0)


class Runs:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, call: object, argument: str) -> None:
        self.call, self.argument = call, argument

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, (self.argument,)


@pytest.mark.parametrize("call", [os.system, eval], ids=["system", "eval"])
def test_nothing_in_the_file_is_run(call: Any, tmp_path: Path) -> None:
    given = hyperparameters("continuous", in_width=4, images=["x.jpg"], rotations=2)
    trace = tmp_path / "ran"
    argument = f"touch {trace}" if call is os.system else f"__import__('pathlib').Path({str(trace)!r}).touch()"
    path = save(tmp_path / "c.ckpt", build(given), {**given, "extra": Runs(call, argument)})
    torch.load(path, weights_only=False)
    assert trace.exists()  # so it would
    trace.unlink()
    try:
        imported(path, tmp_path / "pack", PICTURE)
    except HoirError as error:
        assert "not a readable checkpoint" in str(error)  # noqa: PT017 - torch refuses modules that only do harm
    assert not trace.exists()


@pytest.mark.parametrize(
    ("layer_type", "settings", "says"),
    [
        ("baseline_relu", [], "rectifier behind its output layer"),
        ("switch_continuous", [], "never saves the weights of switch layers"),
        ("continuous_prod", [], "the input layer multiplies its links"),
        ("polynomial", ["network.hidden.width=7"], r"holds 198 weights.* has 252; set what differs"),
        ("continuous", ["network.input.segments=3", "network.hidden.segments=4"], "holds .* weights"),
        ("continuous", ["network.num_nodez=3"], "network.num_nodez: unknown key"),
        ("continuous", ["data.image=gone.jpg"], "gone.jpg: no such file.*name it, such as data.image"),
    ],
)
def test_says_what_does_not_fit(layer_type: str, settings: list[str], says: str, tmp_path: Path) -> None:
    given = hyperparameters(layer_type, in_width=2, images=["x.jpg"], rotations=1)
    if layer_type == "polynomial":
        given["mlp"]["n_out"] = None
    model = switches(layer_type) if "switch" in layer_type else build(given)
    path = save(tmp_path / "c.ckpt", model, given)
    with pytest.raises(HoirError, match=says):
        imported(path, tmp_path / "pack", [*PICTURE, *settings])
    assert not (tmp_path / "pack").exists()


def test_the_same_number_of_weights_in_other_shapes(tmp_path: Path) -> None:
    given = hyperparameters("polynomial", in_width=2, images=["x.jpg"], rotations=1)
    given["mlp"]["n_out"], given["mlp"]["input"]["width"] = None, 2
    path = save(tmp_path / "c.ckpt", build(given), given)
    # 12 x 3 + 36 x 3 + 18 x 3 weights = 12 x 6 + 36 x 2 + 18 x 3
    settings = ["network.input.num_nodes=6", "network.hidden.num_nodes=2", "network.output.num_nodes=3"]
    with pytest.raises(HoirError, match=r"model.0.w: expected \[2, 6, 6\] as \[in, V, out\], got \[2, 3, 6\]"):
        imported(path, tmp_path / "pack", [*PICTURE, *settings])


def test_without_hyperparameters_flags_say_it(tmp_path: Path) -> None:
    given = hyperparameters("polynomial", in_width=2)
    given["mlp"]["n_out"] = None
    model = build(given)
    path = save(tmp_path / "c.ckpt", model, {})
    with pytest.raises(HoirError, match=r"\(none\) are of no task.*--task, one of image, neighborhood"):
        imported(path, tmp_path / "none", PICTURE)
    flags = ["data.num_rotations=1", "network.layer_type=polynomial", "network.hidden.width=6"]
    pack = imported(path, tmp_path / "pack", [*PICTURE, *flags], task="image")
    drawn = pack.task.render(pack.network, pack.config, pack.facts, pack.task.render_options(size="9x5"))[0]
    assert_close(drawn, upstream_picture(model, height=5, width=9, rotations=1), tolerance=1e-5, at_least=1.0)


def test_captions_are_refused(tmp_path: Path) -> None:
    given = hyperparameters("continuous", in_width=2)
    path = save(tmp_path / "c.ckpt", build(given), {})
    with pytest.raises(HoirError, match="task 'text_to_image' cannot be imported"):
        imported(path, tmp_path / "pack", [], task="text_to_image")


def test_broken_files_are_refused(tmp_path: Path) -> None:
    given = hyperparameters("continuous", in_width=4, images=["x.jpg"], rotations=2)
    model = build(given)
    whole = save(tmp_path / "c.ckpt", model, given)
    cut, bent, packed, text = (tmp_path / name for name in ("cut.ckpt", "bent.ckpt", "packed.ckpt", "text.ckpt"))
    cut.write_bytes(whole.read_bytes()[:-100])
    content = bytearray(whole.read_bytes())
    at = content.find(model.state_dict()["model.0.w"].numpy().tobytes()[:16])
    content[at] ^= 1
    bent.write_bytes(content)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    text.write_text("no checkpoint")
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = float("nan")
    nan = save(tmp_path / "nan.ckpt", model, given)
    torch.save({"hyper_parameters": given}, empty := tmp_path / "empty.ckpt")
    torch.save([1], other := tmp_path / "list.ckpt")
    thin = tmp_path / "thin.ckpt"
    torch.save({"state_dict": {"model.model.0.w": torch.zeros(1).expand(10**9)}}, thin)
    for path, says in [
        (cut, "not a readable checkpoint"),
        (bent, "damaged in"),
        (packed, "compressed"),
        (text, "not a readable checkpoint"),
        (tmp_path / "gone.ckpt", "cannot be read: No such file"),
        (nan, "NaN or infinite"),
        (empty, "has no 'state_dict'"),
        (other, "not a checkpoint, got a list"),
        (thin, "stores fewer"),
    ]:
        with pytest.raises(HoirError, match=says):
            imported(path, tmp_path / "pack", PICTURE)
    assert not (tmp_path / "pack").exists()


def test_a_filled_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "mine.txt").write_text("mine")
    with pytest.raises(HoirError, match="exists and is not an empty folder"):
        imported(REAL, tmp_path / "pack", PICTURE)
