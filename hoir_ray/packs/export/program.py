"""`--format torch`: the network as a program of torch.export, which torch alone loads."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from hoir_ray.machine.files import replacing
from hoir_ray.packs.export.plain import plain_network
from hoir_ray.packs.pack import Pack

ABOUT = "hoir_ray.json"


def write(pack: Pack, out: Path) -> str:
    """Write the program; its batch may have any size.

    Raises:
        RequestError: If a layer cannot be exported.
    """
    plain = plain_network(pack, kind="torch")
    names = list(plain.inputs)
    shapes = tuple({0: torch.export.Dim.DYNAMIC} if name == names[-1] else None for name in names)
    program = torch.export.export(plain.network, tuple(plain.inputs.values()), dynamic_shapes=(shapes))
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={ABOUT: plain.about})
    with replacing(out) as file:
        file.write(buffer.getvalue())
    taken = ", ".join(
        f"{name} [{'batch' if name == names[-1] else 1}, {x.shape[1]}]" for name, x in plain.inputs.items()
    )
    return f"network = torch.export.load({out.name!r}).module(); takes {taken}"
