"""A trial's own checkpoint file: written whole or not at all, read without running what is in it."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from hoir_ray.errors import PackError, WorkError
from hoir_ray.machine.files import replacing_path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        PackError: If the file is an address, is damaged, or holds more than tensors and plain values.
    """
    refuse_address(path)
    try:
        # torch.load does not compare the checksums that its archive carries.
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise PackError(f"{path}: checkpoint is damaged in '{broken}'; delete it to start the trial over")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except PackError:
        raise
    except Exception as error:  # archive, pickle and tensor readers each raise their own kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PackError(f"{path}: not a readable checkpoint ({reason}); delete it to start the trial over") from error
    if not isinstance(checkpoint, dict):
        raise PackError(f"{path}: not a checkpoint of training, got a {type(checkpoint).__name__}")
    return checkpoint


def refuse_address(path: Path) -> None:
    """Lightning would fetch an address and unpickle what comes back."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise PackError(f"{path}: a checkpoint must be a local file, got an address")


def write_checkpoint(trainer: Trainer, path: Path) -> None:
    """Have Lightning write its checkpoint, and put it in the place of the one before. Every worker must call this.

    Raises:
        WorkError: If it cannot be written, such as on a full disk.
    """
    refuse_address(path)
    try:
        with replacing_path(path) as part:
            trainer.save_checkpoint(part)
    except OSError as error:
        raise WorkError(f"{path}: the checkpoint could not be written: {error.strerror or error}") from error
