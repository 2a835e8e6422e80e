"""Pictures drawn from a model pack, with the task's own flags: `hoir render`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from hoir_ray.config import Config, explain, nearest
from hoir_ray.errors import RequestError
from hoir_ray.machine.files import try_destination
from hoir_ray.packs.pack import Pack
from hoir_ray.pictures.save import check_suffix, save_frames
from hoir_ray.tasks.contract import Task, flag_names


def read_flags(arguments: Sequence[str], task: Task[Any]) -> Config:
    """`--size 64x48 --all-random` as the task's render options.

    Raises:
        RequestError: For a flag that the task does not have, one without its value, or a value that it refuses.
    """
    model = task.render_options
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    given: dict[str, Any] = {}
    waiting = deque(arguments)
    while waiting:
        word, equals, value = waiting.popleft().partition("=")
        name = word.removeprefix("--").replace("-", "_")
        if not word.startswith("--") or name not in fields:
            raise RequestError(_unknown_flag(word, task))
        if fields[name].annotation is bool and not equals:
            value = "true"
        elif not equals and not waiting:
            raise RequestError(f"{word}: needs a value")
        given[name] = value if equals or value else waiting.popleft()
    return read_options(given, task, shown=lambda name: f"--{name.replace('_', '-')}")


def read_options(given: Mapping[str, object], task: Task[Any], *, shown: Callable[[str], str] = str) -> Config:
    """Check the task's render options, given by name.

    Args:
        shown: An option's name as the user knows it.

    Raises:
        RequestError: For an option that the task does not have, or a value that it refuses.
    """
    model = task.render_options
    known = [field.alias or name for name, field in model.model_fields.items()]
    try:
        return model.model_validate(given)
    except ValidationError as error:
        findings = explain(error, known=known)
        lines = [f"{shown(path)}: {complaint}" if path else complaint for path, complaint in findings]
        raise RequestError("\n".join(lines)) from None


def draw(pack: Pack, options: Config, *, out: Path) -> tuple[Path, tuple[int, int, int]]:
    """Draw with a pack's network and write the picture; returns the file, and (frames, height, width).

    Raises:
        RequestError: For an unknown kind of picture file.
    """
    check_suffix(out)
    try_destination(out, source="--out")
    with torch.inference_mode():
        frames = pack.task.render(pack.network, pack.config, pack.facts, options)
    save_frames(frames, out)
    return out, (frames.shape[0], frames.shape[1], frames.shape[2])


def _unknown_flag(word: str, task: Task[Any]) -> str:
    known = flag_names(task)
    return f"{word}: task '{task.name}' does not take it.{nearest(word, known)} It takes: {', '.join(known)}"
