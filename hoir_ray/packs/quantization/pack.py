"""One file from a model pack, as small or as good as asked for: `hoir pack`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hoir_ray.errors import RequestError, StorageError
from hoir_ray.machine.files import reason, replacing, try_destination
from hoir_ray.packs.evaluate import data_of
from hoir_ray.packs.pack import Pack
from hoir_ray.packs.quantization.form import Form, Show, find_form, find_tuned_form, uniform_form
from hoir_ray.packs.quantization.goal import Goal
from hoir_ray.results.pull import SUFFIX
from hoir_ray.training.config import QuantizationConfig

MANY_WEIGHTS, WEIGHTS_PER_S = 1_000_000, 200_000  # of the entropy coder, which is plain Python


def pack_file(
    pack: Pack,
    *,
    out: Path,
    goal: Goal,
    settings: Sequence[str] = (),
    fine_tuning: bool = False,
    show: Show = lambda form: None,
    say: Callable[[str], None] = lambda text: None,
) -> Form:
    """Write the pack as one file.

    Args:
        settings: Other data to measure on, as `data.x=y`; the pack's own is taken otherwise.
        fine_tuning: Train on under rounding, as the config's `training.quantization` says.
        show: Gets every form that is tried.
        say: Gets what takes longer than a search.

    Raises:
        RequestError: If the goal cannot be met, or the file's name has another ending.
        DataError: If the data is needed and cannot be loaded.
        StorageError: If the file cannot be written.
    """
    if out.suffix != SUFFIX:
        raise RequestError(f"--out {out}: must end in {SUFFIX}")
    try_destination(out, source="--out")
    num_weights = sum(tensor.numel() for tensor in pack.network.state_dict().values())
    if num_weights > MANY_WEIGHTS:
        say(f"coding {num_weights:,} weights takes about {num_weights / WEIGHTS_PER_S:.0f} s a form")
    if goal.bits is not None and not (fine_tuning or settings):
        form = uniform_form(pack, bits=goal.bits)
    else:
        data, quantization = data_of(pack, settings), pack.config.training.quantization or QuantizationConfig()
        goal = replace(goal, trade=quantization.trade)
        if fine_tuning:
            form = find_tuned_form(pack, data, goal=goal, quantization=quantization, show=show, say=say)
        else:
            form = find_form(pack, data, goal=goal, show=show)
    try:
        with replacing(out) as file:
            file.write(form.content)
    except OSError as error:
        raise StorageError(f"{out}: could not be written: {reason(error)}") from error
    return form
