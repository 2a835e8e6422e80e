"""`--format html`: one file that holds a network's weights and draws its picture in the browser, without a server."""

from __future__ import annotations

import base64
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hoir_ray import wording
from hoir_ray.errors import RequestError
from hoir_ray.machine.files import replacing
from hoir_ray.packs.export.steps import Steps, steps_of
from hoir_ray.packs.pack import Pack
from hoir_ray.tasks.image.config import ImageFacts
from hoir_ray.tasks.text_to_image.config import TextToImageFacts
from hoir_ray.tasks.text_to_image.data import dictionary_of

MAX_NUMBERS = 2_000_000  # 11 MB of HTML, and on a phone's graphics card seconds for a screen
SCRIPTS = ("network.js", "webgl.js", "viewer.js")


def write(pack: Pack, out: Path) -> str:
    """Write the page; the file appears whole or not at all.

    Raises:
        RequestError: If the network represents no picture, or is too large for a browser.
    """
    page = page_of(pack).encode()
    with replacing(out) as file:
        file.write(page)
    return f"{len(page):,} bytes; open it in a browser: it draws the picture at any zoom and needs no network"


def page_of(pack: Pack) -> str:
    """The page's HTML.

    Raises:
        RequestError: If the network represents no picture, or is too large for a browser.
    """
    from jinja2 import Environment

    check_size(sum(parameter.numel() for parameter in pack.network.parameters()))
    model, steps = _model(pack)
    check_size(steps.numbers.size + (0 if steps.captions is None else steps.captions.size))
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_part("viewer.html"))
    return template.render(
        name=model["name"],
        about=_about(pack),
        model=json.dumps(model, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        numbers=_base64(steps.numbers),
        captions="" if steps.captions is None else _base64(steps.captions),
        style=_part("viewer.css"),
        scripts=[_part(name) for name in SCRIPTS],
    )


def check_size(num_numbers: int) -> None:
    """Refuse what a browser could not hold or draw in a time that a reader waits.

    Raises:
        RequestError: If there are more than MAX_NUMBERS weights and captions' numbers.
    """
    if num_numbers > MAX_NUMBERS:
        raise RequestError(
            f"--format html: a browser draws networks of at most {MAX_NUMBERS:,} numbers, got {num_numbers:,}; "
            "take --format onnx, or draw it with hoir render"
        )


def _model(pack: Pack) -> tuple[dict[str, Any], Steps]:
    """The model as the page's scripts are told of it, and the steps whose numbers stand beside it."""
    facts, captions = pack.facts, []
    size, dictionary = (2, 2), None
    if isinstance(facts, TextToImageFacts):
        sizes = [tuple(map(int, text.split("x"))) for text in facts.sizes]
        captions = [{"text": text, "size": shape} for text, shape in zip(facts.captions, sizes, strict=True)]
        dictionary = torch.stack(list(dictionary_of(facts).values()))
    elif isinstance(facts, ImageFacts):
        size = (facts.width, facts.height)
    else:
        raise RequestError(
            f"--format html: a network of task '{pack.task.name}' draws from other pixels and represents no picture "
            "of its own; take --format onnx or torch"
        )
    steps = steps_of(pack.network, dictionary=dictionary)
    rotations = pack.config.model_dump()["data"]["num_rotations"]
    return {
        "name": pack.folder.stem if pack.folder.suffix == ".hoir" else pack.folder.name,
        "size": size,
        "rotations": rotations,
        "in": 2 * rotations,
        "captions": captions,
        "conditions": 0 if steps.captions is None else steps.captions.shape[1],
        "steps": steps.steps,
    }, steps


def _about(pack: Pack) -> str:
    num_parameters = sum(parameter.numel() for parameter in pack.network.parameters())
    quality = pack.metrics.get("val_psnr_db")
    measured = f", {wording.number(quality)} dB" if quality is not None else ""
    return f"Drawn by a network of {num_parameters:,} parameters ({pack.config.network.layer_type}{measured})."


def _base64(numbers: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers, "<f4").tobytes()).decode()


@cache
def _part(name: str) -> str:
    return files("hoir_ray.packs.export").joinpath("viewer", name).read_text(encoding="utf-8")
