"""`--format upstream`: a state dict that high-order-layers-torch's HighOrderMLP loads."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch

from hoir_ray.errors import RequestError
from hoir_ray.machine.files import replacing
from hoir_ray.networks.mlp import MLP
from hoir_ray.networks.upstream import to_upstream_state, upstream_arguments
from hoir_ray.packs.pack import Pack


def write(pack: Pack, out: Path) -> str:
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
