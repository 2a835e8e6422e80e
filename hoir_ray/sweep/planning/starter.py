"""A first sweep of a user's own data: a YAML with a size, a budget and a time that fit this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hoir_ray.errors import DataError, RequestError
from hoir_ray.machine.files import replacing, try_destination
from hoir_ray.pictures.folder import find_pictures_below
from hoir_ray.pictures.load import load_picture
from hoir_ray.spec.document import dump_document

MAX_SIDE = 256  # whose networks train in seconds on a core
TRIALS_PER_CORE = 8
MAX_TRIALS = 60
WALL_CLOCK = "20m"
LEAST_BYTES = 3000
_HEAD = """\
# A first sweep of {about}, on {cores} cores.
# It ends after {trials} trials, or after {wall_clock}.
# Then: hoir sweep {out}
# Larger pictures want a larger data.max_side or data.size, more training.max_epochs, and more time.
"""


def write_starter(source: Path, *, out: Path | None = None) -> Path:
    """Write a sweep YAML for a picture, a folder of pictures or a parquet file beside where the user stands.

    Returns:
        The file.

    Raises:
        DataError: If nothing can be trained on there.
        RequestError: If the file is there already, or cannot be written.
    """
    about, settings = _of_source(source)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", source.absolute().stem).strip("-_")[:60] or "picture"
    out = out or Path(f"{name}.yaml")
    if out.exists():
        raise RequestError(f"--out {out}: exists already; choose another")
    try_destination(out, source="--out")
    cores = os.cpu_count() or 1
    trials = min(MAX_TRIALS, TRIALS_PER_CORE * cores)
    document = {"name": name, **settings, "budget": {"max_trials": trials, "wall_clock": WALL_CLOCK}}
    head = _HEAD.format(about=about, cores=cores, trials=trials, wall_clock=WALL_CLOCK, out=out)
    with replacing(out) as file:
        file.write(f"{_one_line_each(head)}{dump_document(document)}".encode("utf-8", "backslashreplace"))
    return out


def _of_source(source: Path) -> tuple[str, dict[str, Any]]:
    """Describe the data, and give the keys of a sweep of it."""
    if source.is_dir():
        found = find_pictures_below(source)
        if not found.paths:
            raise DataError(found.describe(str(source)))
        return f"{source.name}, {len(found.paths):,} pictures", _of_folder(source)
    if source.suffix.lower() == ".parquet":
        return f"{source.name}; data.caption_column and data.image_column name its columns", _of_captions(source)
    height, width, _ = load_picture(source).shape
    return f"{source.name}, {width} x {height} pixels", _of_picture(source, height, width)


def _of_picture(source: Path, height: int, width: int) -> dict[str, Any]:
    return {
        "task": "image",
        "data": {"image": str(source.absolute()), "max_side": min(MAX_SIDE, max(height, width)), "num_rotations": 3},
        "method": "bayes",
        "metrics": [{"name": "stored_psnr_db", "goal": "maximize"}, {"name": "stored_bytes", "goal": "minimize"}],
        "constraints": [f"stored_bytes <= {_most_bytes(height, width):d}"],
        "parameters": {
            "network.layer_type": {"value": "continuous"},
            "network.num_nodes": {"value": 3},
            "network.input.segments": {"min": 8, "max": 96, "distribution": "log_uniform_values"},
            "network.hidden.segments": {"value": 2},
            "network.hidden.width": {"min": 12, "max": 20, "distribution": "q_uniform", "q": 2},
            "network.hidden.num_layers": {"values": [2, 3]},
            "training.batch_size": {"values": [256, 1024]},
            "training.optimizer.lr": {"min": 5e-3, "max": 3e-2, "distribution": "log_uniform_values"},
            "training.max_epochs": {"value": 30},
        },
        "early_terminate": {"type": "mo_asha"},
    }


def _of_folder(source: Path) -> dict[str, Any]:
    return {
        "task": "random_interpolation",
        "data": {"folder": str(source.absolute()), "size": 32, "num_rotations": 1, "samples_per_picture": 256},
        "metric": {"name": "val_loss", "goal": "minimize"},
        "constraints": ["num_parameters <= 20000"],
        "parameters": {
            "data.num_feature_pixels": {"values": [6, 9, 12]},
            "network.layer_type": {"values": ["continuous", "polynomial"]},
            "network.num_nodes": {"values": [2, 3]},
            "network.hidden.width": {"values": [16, 32, 48]},
            "training.optimizer.lr": {"min": 1e-3, "max": 1e-2, "distribution": "log_uniform_values"},
            "training.max_epochs": {"value": 9},
        },
        "early_terminate": {"type": "asha", "min_iter": 3, "eta": 3},
    }


def _of_captions(source: Path) -> dict[str, Any]:
    data = {"files": [str(source.absolute())], "max_images": 8, "max_side": 64, "num_rotations": 3}
    return {
        "task": "text_to_image",
        "data": {**data, "text_model": "hashing", "embedding_size": 128},
        "metric": {"name": "val_psnr_db", "goal": "maximize"},
        "constraints": ["num_parameters <= 30000"],
        "parameters": {
            "network.caption.size": {"values": [4, 8, 16]},
            "network.input.segments": {"min": 16, "max": 64, "distribution": "q_log_uniform_values", "q": 8},
            "network.hidden.width": {"values": [16, 24, 32]},
            "network.hidden.num_layers": {"values": [2, 3]},
            "training.optimizer.lr": {"min": 4e-3, "max": 2e-2, "distribution": "log_uniform_values"},
            "training.max_epochs": {"value": 30},
        },
        "early_terminate": {"type": "asha", "min_iter": 10, "eta": 3},
    }


def _most_bytes(height: int, width: int) -> int:
    """Limit the file to a bit for each pixel that is trained on, and to no less than a small network's."""
    scale = min(1.0, MAX_SIDE / max(height, width))
    return max(LEAST_BYTES, int(height * scale) * int(width * scale) // 8)


def _one_line_each(head: str) -> str:
    """Comments in which no name of a file, whatever it holds, begins a line of YAML."""
    lines = [re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", "?", line) for line in head.split("\n")]
    return "\n".join(line if line.startswith("#") or not line else f"# {line}" for line in lines)
