"""A checkpoint of another program, read as tensors and plain values: what else is in it becomes an inert record."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from hoir_ray.errors import PackError
from hoir_ray.machine.files import open_regular
from hoir_ray.training.checkpoints import refuse_address

MAX_BYTES = 2**32
_MAX_VALUES = 10_000


class Inert:
    """Stands in for an object of any class: keeps the state that was saved for it, and does nothing."""

    state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


def read_foreign(path: Path) -> dict[str, Any]:
    """The checkpoint's dictionary, on the CPU. No class or function that the file names is imported or called.

    Raises:
        PackError: If the file is an address, is damaged, is larger than it looks, or is no checkpoint.
    """
    refuse_address(path)
    try:
        with open_regular(path, max_bytes=MAX_BYTES) as file:
            checkpoint = _load(file, path)
    except PackError:
        raise
    except OSError as error:
        raise PackError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # archive, pickle and tensor readers each raise their own kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PackError(f"{path}: not a readable checkpoint ({reason})") from error
    if not isinstance(checkpoint, dict):
        raise PackError(f"{path}: not a checkpoint, got a {type(checkpoint).__name__}")
    return checkpoint


def _load(file: BinaryIO, path: Path) -> Any:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        # torch stores without compression, so that memory is bounded by the file's own size.
        if any(e.compress_type != zipfile.ZIP_STORED for e in entries):
            raise PackError(f"{path}: its parts are compressed, which torch.save never does")
        if sum(e.file_size for e in entries) > file.seek(0, os.SEEK_END):
            raise PackError(f"{path}: its parts are larger than the file itself")
        broken = archive.testzip()
    if broken is not None:
        raise PackError(f"{path}: damaged in '{broken}'")
    file.seek(0)
    named: list[Any] = [(Inert, name) for name in torch.serialization.get_unsafe_globals_in_checkpoint(file)]
    file.seek(0)
    with torch.serialization.safe_globals(named):
        return torch.load(file, map_location="cpu", weights_only=True)


def weights(checkpoint: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """The checkpoint's `state_dict`: finite tensors that together are no larger than the file.

    Raises:
        PackError: If there is none, or a tensor is not such.
    """
    state = checkpoint.get("state_dict")
    if state == {}:
        raise PackError(f"{path}: its 'state_dict' is empty; upstream never saves the weights of switch layers")
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise PackError(f"{path}: has no 'state_dict' of tensors; give a checkpoint that Lightning wrote")
    sizes = {v.untyped_storage().data_ptr(): v.untyped_storage().nbytes() for v in state.values()}
    if sum(sizes.values()) > path.stat().st_size:
        raise PackError(f"{path}: its weights are larger than the file itself")
    for name, tensor in state.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise PackError(f"{path}: '{name}' has {tensor.numel():,} numbers and stores fewer")
        if not torch.isfinite(tensor).all():
            raise PackError(f"{path}: '{name}' holds NaN or infinite numbers, as left by a training that diverged")
    return {str(name): tensor for name, tensor in state.items()}


def plain(value: Any) -> Any:
    """A saved value as dictionaries, lists and scalars; OmegaConf's containers and nodes are opened.

    Raises:
        ValueError: If it holds more than 10,000 values.
    """
    left = [_MAX_VALUES]

    def open_up(item: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise ValueError(f"more than {_MAX_VALUES:,} values")
        if isinstance(item, Inert):
            state = item.state if isinstance(item.state, dict) else {}
            return open_up(state["_content"] if "_content" in state else state.get("_val"))
        if isinstance(item, dict):
            return {str(k): open_up(v) for k, v in item.items()}
        if isinstance(item, list | tuple):
            return [open_up(v) for v in item]
        return item if isinstance(item, str | int | float | bool | None) else None

    return open_up(value)
