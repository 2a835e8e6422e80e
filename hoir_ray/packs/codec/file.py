"""A whole pack as the bytes of one file, and back: what `hoir pack` writes and every reader of packs takes."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from hoir_ray import __version__
from hoir_ray.config import Config, explain, input_paths, map_paths
from hoir_ray.errors import PackError, SpecError
from hoir_ray.packs.codec import container, facts, header, tensors
from hoir_ray.packs.codec.steps import nearest_code, to_integers, to_weights
from hoir_ray.packs.codec.tensors import QuantizedTensor
from hoir_ray.packs.pack import Pack
from hoir_ray.results.pull import SUFFIX
from hoir_ray.tasks import load_task
from hoir_ray.tasks.contract import Task, TaskConfig

LAYOUT_BYTES = 2
C = TypeVar("C", bound=Config)


def encode(pack: Pack, codes: Mapping[str, int]) -> bytes:
    """The file of a pack.

    Args:
        codes: The step of each tensor of the network, by its name; weights are rounded to whole steps.

    Raises:
        PackError: If a weight is not finite, or the pack is larger than a file may be.
    """
    plain, arrays = facts.to_header(pack.facts)
    quantized = quantize(pack.network, codes)
    num_weights = sum(tensor.integers.size for tensor in quantized) + sum(map(len, arrays))
    if num_weights > tensors.MAX_WEIGHTS:
        raise PackError(f"a {SUFFIX} file holds at most {tensors.MAX_WEIGHTS:,} weights, got {num_weights:,}")
    config = pack.config.model_dump(mode="json")
    head = header.Header(
        task=pack.task.name,
        network=config["network"],
        data=_without_files(type(pack.config), config["data"]),
        seed=config["training"]["seed"],
        facts=plain,
    )
    body = tensors.encode_tensors([*quantized, *map(_quantize_array, arrays)])
    return container.join(header.pack(head), _layout(pack.network) + body)


def decode(content: bytes, *, path: Path) -> Pack:
    """The pack that a file holds; its weights are the same to the bit on every machine.

    Args:
        path: Where the bytes came from, for messages and for the pack's `folder`.

    Raises:
        PackError: If the file is damaged, of a newer format, or of a task or config that is not known here.
    """
    name = str(path)
    packed, body = container.split(content, name=name)
    head = header.unpack(packed, name=name)
    task, config = _config(head, name=name)
    lengths = facts.array_lengths(head.facts, name=name)
    # Counted from the config, before there is a network that could fill the memory.
    tensors.check_size(task.num_parameters(config) + sum(lengths), num_bytes=len(body), name=name)
    network = task.network(config)
    state = network.state_dict()
    if body[:LAYOUT_BYTES] != _layout(network):
        raise PackError(f"{name}: hoir_ray {__version__} builds this network in another way than what wrote the file")
    shapes = [*(tuple(tensor.shape) for tensor in state.values()), *((length,) for length in lengths)]
    decoded = [_weights(tensor, name=name) for tensor in tensors.decode_tensors(body[LAYOUT_BYTES:], shapes, name=name)]
    weights, arrays = decoded[: len(state)], decoded[len(state) :]
    network.load_state_dict({key: torch.from_numpy(tensor) for key, tensor in zip(state, weights, strict=True)})
    return Pack(
        task=task,
        config=config,
        network=network.eval(),
        facts=_validate(task.facts, facts.from_header(head.facts, arrays), name=name),
        metrics={},
        folder=path,
        missing=tuple(f"data.{field}" for field in input_paths(_data_type(type(config))) if field not in head.data),
    )


def quantize(network: nn.Module, codes: Mapping[str, int]) -> list[QuantizedTensor]:
    """The network's tensors in whole steps, in the order of its state.

    Raises:
        PackError: If a weight is NaN or infinite.
    """
    quantized = []
    for name, tensor in network.state_dict().items():
        weights = tensor.detach().cpu().float().numpy()
        if not np.isfinite(weights).all():
            raise PackError(f"weight '{name}': all must be finite to be stored, got NaN or infinity")
        quantized.append(QuantizedTensor(integers=to_integers(weights, code=codes[name]), code=codes[name]))
    return quantized


def _layout(network: nn.Module) -> bytes:
    """A checksum of the tensors' names and shapes: read into other tensors, the numbers would draw another picture."""
    text = ";".join(f"{name}{list(tensor.shape)}" for name, tensor in network.state_dict().items())
    return (zlib.crc32(text.encode()) & 0xFFFF).to_bytes(LAYOUT_BYTES, "big")


def _quantize_array(array: facts.Array) -> QuantizedTensor:
    largest = float(np.abs(array).max(initial=0.0))
    if not math.isfinite(largest):
        raise PackError("the pack's dictionary: all numbers must be finite to be stored, got NaN or infinity")
    code = nearest_code(largest / 2 ** (facts.ARRAY_BITS - 1))
    return QuantizedTensor(integers=to_integers(array, code=code), code=code)


def _weights(tensor: QuantizedTensor, *, name: str) -> np.ndarray:
    weights = to_weights(tensor.integers, code=tensor.code)
    if not np.isfinite(weights).all():
        raise PackError(f"{name}: damaged; a weight is above what float32 holds")
    return weights


def _config(head: header.Header, *, name: str) -> tuple[Task[Any], TaskConfig]:
    given = {"network": head.network, "data": head.data, "training": {"seed": head.seed}}
    try:
        task = load_task(head.task)
    except SpecError as error:
        raise PackError(f"{name}: cannot be used by hoir_ray {__version__}: {error}") from error
    return task, _validate(task.config, task.upgrade(given), name=name)


def _validate(model: type[C], given: Mapping[str, Any], *, name: str) -> C:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        reasons = "; ".join(f"{path}: {complaint}".removeprefix(": ") for path, complaint in explain(error))
        raise PackError(f"{name}: cannot be used by hoir_ray {__version__}: {reasons}") from error


def _without_files(config: type[TaskConfig], data: Mapping[str, Any]) -> dict[str, Any]:
    """The data's choices without the names of this machine's files and folders, which a reader would not have."""
    mapped = map_paths(_data_type(config), data, lambda path: "")
    return {name: value for name, value in data.items() if mapped[name] == value}


def _data_type(config: type[TaskConfig]) -> type[Config]:
    """The task's own part of its config."""
    data_type: Any = config.model_fields["data"].annotation
    return data_type
