"""A model pack in another program's format: `hoir export`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch

from hoir_ray.config import nearest
from hoir_ray.errors import RequestError, StorageError
from hoir_ray.machine.files import reason, replacing, try_destination
from hoir_ray.networks.mlp import MLP
from hoir_ray.networks.upstream import to_upstream_state, upstream_arguments
from hoir_ray.packs.pack import Pack

Writer = Callable[[Pack, Path], str]


def export(pack: Pack, *, kind: str, out: Path) -> str:
    """Write the pack's network to the file `out`.

    Args:
        kind: One of `FORMATS`.

    Returns:
        How the file is used, in a line or two.

    Raises:
        RequestError: If there is no such format, or it has no such network.
        StorageError: If the file cannot be written.
    """
    if kind not in FORMATS:
        raise RequestError(f"--format {kind}: unknown.{nearest(kind, FORMATS)} Known: {', '.join(FORMATS)}")
    try_destination(out, source="--out")
    try:
        return FORMATS[kind](pack, out)
    except OSError as error:
        raise StorageError(f"{out}: could not be written: {reason(error)}") from error


def write_upstream(pack: Pack, out: Path) -> str:
    """A state dict for upstream's HighOrderMLP, as torch or, by the file's suffix, as safetensors.

    Raises:
        RequestError: If upstream has no such network.
    """
    network = pack.network
    if not isinstance(network, MLP):
        raise RequestError(f"--format upstream: HighOrderMLP has no network like that of task '{pack.task.name}'")
    arguments = upstream_arguments(network)
    state = to_upstream_state(network)
    with replacing(out) as file:
        if out.suffix == ".safetensors":
            # The first and last layer's tensors have two names each, which safetensors takes for a mistake.
            file.write(safetensors.torch.save({name: tensor.clone() for name, tensor in state.items()}))
        else:
            torch.save(state, file)
    normalization = arguments.pop("normalization")
    shape = [f"{name}={value!r}" for name, value in arguments.items() if value is not None]
    shape += [f"normalization=normalization_layers[{normalization!r}]"] if normalization is not None else []
    first = f"model(torch.zeros(1, {network.in_width})); " if normalization == "layer_norm" else ""
    load = f"safetensors.torch.load_file({out.name!r})" if out.suffix == ".safetensors" else f"torch.load({out.name!r})"
    return f"model = HighOrderMLP({', '.join(shape)}); {first}model.load_state_dict({load})"


FORMATS: dict[str, Writer] = {"upstream": write_upstream}
