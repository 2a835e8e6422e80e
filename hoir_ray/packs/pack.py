"""Model packs: a folder of five files from which a network is rebuilt, and in which no damage goes unnoticed."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor, nn

from hoir_ray import __version__
from hoir_ray.config import Config, explain
from hoir_ray.errors import PackError, SpecError, StorageError
from hoir_ray.machine.files import open_regular, read_at_most, replacing
from hoir_ray.pictures.save import save_picture
from hoir_ray.storage.manifest import MANIFEST, Entry, make_manifest, read_manifest
from hoir_ray.tasks import load_task
from hoir_ray.tasks.contract import Task, TaskConfig
from hoir_ray.training.facts import Facts

C = TypeVar("C", bound=Config)
FORMAT = 1
WEIGHTS, CONFIG, METRICS, PREVIEW = "model.safetensors", "config.json", "metrics.json", "preview.png"
FILES = (WEIGHTS, CONFIG, METRICS, PREVIEW)
MAX_BYTES = {MANIFEST: 65_536, WEIGHTS: 2**30, CONFIG: 2**28, METRICS: 2**20, PREVIEW: 2**28}


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A model pack in memory: the network holds the pack's weights, on the CPU, ready to draw.

    Attributes:
        folder: The pack's folder, or its one file.
        missing: Dotted paths of the config that the pack does not know, such as `data.image` of a file for sharing.
    """

    task: Task[Any]
    config: TaskConfig
    network: nn.Module
    facts: Facts
    metrics: Mapping[str, float]
    folder: Path
    missing: tuple[str, ...] = ()


def write_pack(
    folder: Path,
    *,
    task: Task[Any],
    config: TaskConfig,
    facts: Facts,
    state: Mapping[str, Tensor],
    metrics: Mapping[str, float],
    preview: Float[Tensor, "height width 3"],
) -> None:
    """Write a model pack; the manifest comes last, so that half a pack is none.

    Raises:
        StorageError: If the folder cannot be written.
    """
    about = {
        "format": FORMAT,
        "task": task.name,
        "config": config.model_dump(mode="json"),
        "facts": facts.model_dump(mode="json", exclude_none=True),
        "versions": {"hoir_ray": __version__, "torch": torch.__version__},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        _write(folder / WEIGHTS, safetensors.torch.save(weights))
        _write(folder / CONFIG, _to_json(about))
        _write(folder / METRICS, _to_json(dict(metrics)))
        save_picture(preview, folder / PREVIEW)
        entries = {name: Entry.of_file(folder / name) for name in FILES}
        _write(folder / MANIFEST, make_manifest(entries, format=FORMAT))
    except OSError as error:
        raise StorageError(f"{folder}: the model pack could not be written: {error.strerror or error}") from error


def load_pack(folder: Path) -> Pack:
    """The network and all that is known of it, from the folder alone; the training data is not needed.

    Raises:
        PackError: Naming the first file that is missing, or of another size or content than the manifest says; or if
            the pack's task or format is not known here.
    """
    files = _read(folder)
    about = _from_json(files[CONFIG], folder / CONFIG)
    _check_format(about, folder / CONFIG)
    try:
        task = load_task(str(about.get("task")))
        config = _validate(task.config, task.upgrade(about["config"]), part="config")
        facts = _validate(task.facts, about["facts"], part="facts")
    except (SpecError, KeyError, AttributeError, TypeError) as error:
        reason = str(error).replace("\n", "; ")
        raise PackError(f"{folder / CONFIG}: cannot be used by hoir_ray {__version__}: {reason}") from error
    _check_size(task.num_parameters(config), files[WEIGHTS], path=folder / WEIGHTS)
    network = task.network(config)
    try:
        network.load_state_dict(safetensors.torch.load(files[WEIGHTS]))
    except Exception as error:  # safetensors and torch each raise their own kinds
        raise PackError(f"{folder / WEIGHTS}: does not fit the network of {CONFIG}: {error}") from error
    metrics = _from_json(files[METRICS], folder / METRICS)
    return Pack(task=task, config=config, network=network.eval(), facts=facts, metrics=metrics, folder=folder)


def _validate(model: type[C], given: object, *, part: str) -> C:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        findings = (
            f"{part}.{path}: {complaint}" if path else f"{part}: {complaint}" for path, complaint in explain(error)
        )
        raise SpecError("; ".join(findings)) from None


def _read(folder: Path) -> dict[str, bytes]:
    """Read and verify every file's bytes, so that what is used is what was checked, even if the folder changes."""
    if not folder.is_dir():
        raise PackError(f"{folder}: no such model pack")
    path = folder / MANIFEST
    manifest = _read_file(path, max_bytes=MAX_BYTES[MANIFEST])
    _check_format(_from_json(manifest, path), path)
    entries = read_manifest(manifest, where=str(path))
    # Names other than the pack's own are refused, so that no manifest can point outside its folder.
    if sorted(entries) != sorted(FILES):
        raise PackError(f"{path}: must list exactly {', '.join(FILES)}")
    files = {}
    for name in FILES:
        entry = entries[name]
        if entry.size_bytes > MAX_BYTES[name]:
            raise PackError(f"{path}: '{name}' may have {MAX_BYTES[name]:,} bytes, got {entry.size_bytes:,}")
        files[name] = _read_file(folder / name, max_bytes=entry.size_bytes)
        entry.check(Entry.of(files[name]), where=str(folder / name))
    return files


def _check_size(num_parameters: int, weights: bytes, *, path: Path) -> None:
    """Compare the config's network with the weights' header, before a network is built that could fill the memory."""
    length = int.from_bytes(weights[:8], "little")
    header = _from_json(weights[8 : 8 + length], path)
    try:
        stored = sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (KeyError, TypeError):
        raise PackError(f"{path}: damaged; its header does not give the shape of each tensor") from None
    # Each number takes a byte at least, so what the file says of itself is bounded by what it holds.
    if num_parameters > min(stored, len(weights)):
        raise PackError(
            f"{path}: does not fit the network of {CONFIG}: {stored:,} numbers in {len(weights):,} bytes, "
            f"and the network has {num_parameters:,} parameters"
        )


def _read_file(path: Path, *, max_bytes: int) -> bytes:
    if path.is_symlink():
        raise PackError(f"{path}: is a link; a model pack holds its files itself")
    try:
        with open_regular(path) as file:
            content = read_at_most(file, max_bytes + 1)
    except OSError as error:
        raise PackError(f"{path}: missing or unreadable: {error.strerror or error}") from error
    if len(content) > max_bytes:
        raise PackError(f"{path}: damaged; longer than the {max_bytes} bytes it may have")
    return content


def _check_format(document: Mapping[str, Any], path: Path) -> None:
    if document.get("format") != FORMAT:
        raise PackError(
            f"{path}: format {document.get('format')!r}, and hoir_ray {__version__} reads {FORMAT}; "
            "a newer one is read by a newer hoir_ray"
        )


def _to_json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def _from_json(content: bytes, path: Path) -> dict[str, Any]:
    try:
        document = json.load(io.BytesIO(content))
    except (ValueError, RecursionError) as error:
        raise PackError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise PackError(f"{path}: must be a JSON object, got a {type(document).__name__}")
    return document


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)
