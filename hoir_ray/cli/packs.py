"""Commands over one network: `hoir train`, `pack`, `render`, `evaluate`, `import` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hoir_ray.cli.options import AsJson, Overrides, PackFolder
from hoir_ray.cli.terminal.bars import EpochBar
from hoir_ray.cli.terminal.console import progress
from hoir_ray.cli.terminal.packs import (
    print_exported,
    print_fit,
    print_form,
    print_imported,
    print_metrics,
    print_written,
    show_form,
)


def train(
    task: Annotated[str, typer.Argument(metavar="TASK", help="One of 'hoir tasks'.", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[A.B=C]...", help="Config values: data.image=photo.jpg network.hidden.width=32."),
    ] = None,
    more_settings: Overrides = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder for the model pack.", show_default="hoir-runs/train/TASK-TIME")
    ] = None,
    tracker: Annotated[
        list[str] | None, typer.Option("--tracker", help="tensorboard, jsonl, ...; repeatable.", show_default=False)
    ] = None,
) -> None:
    """Train one network, without a sweep and without Ray, and leave its model pack."""
    from hoir_ray.packs.train import train_pack

    pack, fit = train_pack(
        task, [*(settings or []), *(more_settings or [])], to=to, trackers=tracker or [], show=EpochBar(), say=progress
    )
    print_fit(pack, fit)


def pack(
    pack: PackFolder,
    out: Annotated[Path, typer.Option("--out", help="File to write, such as photo.hoir.", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[data.X=Y]...", help="The data, where it has moved: data.image=x.jpg."),
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option(metavar="N", help="The best picture in at most N bytes.", show_default=False)
    ] = None,
    min_psnr_db: Annotated[
        float | None, typer.Option(metavar="X", help="The smallest file of at least X dB.", show_default=False)
    ] = None,
    bits: Annotated[
        float | None,
        typer.Option(metavar="B", help="2^B steps for each tensor's range; needs no data.", show_default=False),
    ] = None,
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="Train on under rounding; takes a fifth of the training again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a network as one small file, which render, evaluate and hoir_ray.load take as they take a folder.

    Each tensor's step is searched for the fewest bytes at the least error; --max-bytes or --min-psnr-db say which of
    the two matters.
    """
    from hoir_ray.packs.load import load
    from hoir_ray.packs.quantization.goal import Goal
    from hoir_ray.packs.quantization.pack import pack_file

    goal = Goal(max_bytes=max_bytes, min_psnr_db=min_psnr_db, bits=bits)
    loaded = load(pack)
    form = pack_file(
        loaded, out=out, goal=goal, settings=settings or [], fine_tuning=fine_tune, show=show_form, say=progress
    )
    print_form(form, out=out, facts=loaded.facts, as_json=as_json)


def render(
    context: typer.Context,
    pack: PackFolder,
    out: Annotated[
        Path,
        typer.Option("--out", help="Picture: .png .jpg, or .gif .webp that move.", show_default=False),
    ],
) -> None:
    """Draw what a network has learned, at any size.

    Further flags are the task's own, and 'hoir tasks' lists them: image takes --size 1024x768; neighborhood
    --input photo.jpg --num-frames 12 --alpha 0.75; text_to_image --caption "a cat"; random_interpolation --input noise.
    """
    from hoir_ray.packs.load import load
    from hoir_ray.packs.render import draw, read_flags

    loaded = load(pack)
    print_written(draw(loaded, read_flags(context.args, loaded.task), out=out))


def evaluate(
    pack: PackFolder,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[data.X=Y]...", help="Other data to evaluate on, such as data.image=x.jpg."),
    ] = None,
    image: Annotated[str | None, typer.Option(help="Short for data.image=...", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model pack on its own data, or on other data.

    A network of one picture (task image) is compared with that picture only, at any size.
    """
    from hoir_ray.packs.evaluate import measure, with_picture
    from hoir_ray.packs.load import load

    loaded = load(pack)
    print_metrics(measure(loaded, with_picture(loaded, settings or [], picture=image)), as_json=as_json)


def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="A Lightning checkpoint.", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[A.B=C]...", help="Config values where the checkpoint has none or others."),
    ] = None,
    *,
    to: Annotated[Path, typer.Option(help="Folder for the model pack.", show_default=False)],
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="One of 'hoir tasks'.", show_default="from the hyperparameters")
    ] = None,
    more_settings: Overrides = None,
) -> None:
    """Turn a checkpoint of the upstream project into a model pack.

    Nothing in the file is run. The pack draws what the network drew there; it is measured on its data.
    """
    from hoir_ray.packs import import_checkpoint as importing

    print_imported(
        *importing.import_checkpoint(checkpoint, [*(settings or []), *(more_settings or [])], task=task, to=to)
    )


def export(
    pack: PackFolder,
    kind: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="html, onnx, torch or upstream.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="The file to write.", show_default=False)],
) -> None:
    """Write a model pack in another program's format: hoir export best --format html --out best.html.

    html: one page that holds the network and draws its picture at any zoom, in any browser, without a server.

    onnx: for onnxruntime and whatever else reads it (opset 18, a batch of any size).

    torch: for torch alone, by torch.export.load.

    upstream: a state dict that high-order-layers-torch's HighOrderMLP loads (.pt, or .safetensors).
    """
    from hoir_ray.packs import export as exporting
    from hoir_ray.packs.load import load

    print_exported(out, exporting.export(load(pack), kind=kind, out=out))
