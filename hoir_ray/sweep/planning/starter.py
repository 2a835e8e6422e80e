"""A first sweep of a user's own picture: a YAML with a size, a budget and a time that fit this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hoir_ray.errors import RequestError
from hoir_ray.machine.files import replacing, try_destination
from hoir_ray.pictures.load import load_picture
from hoir_ray.spec.document import dump_document

MAX_SIDE = 256  # whose networks train in seconds on a core
TRIALS_PER_CORE = 8
MAX_TRIALS = 60
WALL_CLOCK = "20m"
LEAST_BYTES = 3000
_HEAD = """\
# A first sweep of {picture}, {width} x {height} pixels, on {cores} cores.
# It ends after {trials} trials, or after {wall_clock}.
# Then: hoir sweep {out}
# Larger pictures want a larger data.max_side, more training.max_epochs, and more time.
"""


def write_starter(picture: Path, *, out: Path | None = None) -> Path:
    """Write a sweep YAML for a picture beside where the user stands; returns the file.

    Raises:
        DataError: If the picture cannot be read.
        RequestError: If the file is there already, or cannot be written.
    """
    height, width, _ = load_picture(picture).shape
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", picture.stem).strip("-_")[:60] or "picture"
    out = out or Path(f"{name}.yaml")
    if out.exists():
        raise RequestError(f"--out {out}: exists already; choose another")
    try_destination(out, source="--out")
    cores = os.cpu_count() or 1
    trials = min(MAX_TRIALS, TRIALS_PER_CORE * cores)
    document = {
        "name": name,
        "task": "image",
        "data": {"image": str(picture.absolute()), "max_side": min(MAX_SIDE, max(height, width)), "num_rotations": 3},
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
        "budget": {"max_trials": trials, "wall_clock": WALL_CLOCK},
    }
    head = _HEAD.format(
        picture=picture.name, width=width, height=height, cores=cores, trials=trials, wall_clock=WALL_CLOCK, out=out
    )
    with replacing(out) as file:
        file.write(f"{_one_line_each(head)}{dump_document(document)}".encode("utf-8", "backslashreplace"))
    return out


def _most_bytes(height: int, width: int) -> int:
    """Limit the file to a bit for each pixel that is trained on, and to no less than a small network's."""
    scale = min(1.0, MAX_SIDE / max(height, width))
    return max(LEAST_BYTES, int(height * scale) * int(width * scale) // 8)


def _one_line_each(head: str) -> str:
    """Comments in which no name of a file, whatever it holds, begins a line of YAML."""
    lines = [re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", "?", line) for line in head.split("\n")]
    return "\n".join(line if line.startswith("#") or not line else f"# {line}" for line in lines)
