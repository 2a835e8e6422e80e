"""A network's one small file beside codecs that a user would take instead, at the same number of bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.packs.codec.file import decode
from hoir_ray.pictures.codecs import Encoded, codec_names, decoded, encode_within
from hoir_ray.pictures.quality import psnr_db
from hoir_ray.pictures.save import contact_sheet, save_picture
from hoir_ray.results.management.contents import SHEET
from hoir_ray.storage import Storage
from hoir_ray.tasks.contract import Task, TaskConfig

USUAL = ("JPEG", "WebP")


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A picture as a network's file and as files of codecs that are no larger.

    Attributes:
        size_bytes, psnr_db: Of the network's file.
        codecs: By name; None for one whose smallest file is larger.
        sheet: The original, what the network draws, and what each codec that fits shows, from left to right.
    """

    size_bytes: int
    psnr_db: float
    codecs: Mapping[str, Encoded | None]
    sheet: Float[Tensor, "rows columns 3"]


def beside_codecs(
    content: bytes, *, task: Task[Any], config: TaskConfig, codecs: Sequence[str] = USUAL
) -> Beside | None:
    """Decode the file `content` and encode the picture that it stands for within as many bytes.

    Args:
        config: Of the training, which names the picture.
        codecs: Those that this machine's Pillow lacks are left out.

    Returns:
        None for a task whose networks are not of one picture.

    Raises:
        DataError: If the picture cannot be read here.
        PackError: If the file is damaged.
    """
    if task.original is None:
        return None
    original = task.original(config)
    pack = decode(content, path=Path("network.hoir"))
    with torch.inference_mode():
        drawn = task.render(pack.network, pack.config, pack.facts, task.render_options())[0]
    usable = [name for name in codecs if name in codec_names()]
    found = {name: encode_within(original, codec=name, max_bytes=len(content)) for name in usable}
    whole = original.float() / 255
    shown = [whole, drawn, *(decoded(e.content).float() / 255 for e in found.values() if e is not None)]
    return Beside(
        size_bytes=len(content),
        psnr_db=psnr_db(drawn, whole),
        codecs=found,
        sheet=contact_sheet(torch.stack(shown), num_columns=len(shown), gap=4),
    )


def publish_sheet(found: Beside, storage: Storage) -> None:
    """Put the sheet of pictures into a sweep's storage.

    Raises:
        StorageError: If it cannot be written.
    """
    with temporary_folder("beside") as folder:
        save_picture(found.sheet, folder / SHEET)
        storage.put_file(SHEET, folder / SHEET)
