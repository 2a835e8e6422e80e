"""The stored form of a network: a file, the steps of its tensors, and the metrics of what it draws."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hoir_ray.errors import RequestError
from hoir_ray.packs.codec.file import decode, encode
from hoir_ray.packs.codec.steps import LOWEST_CODE
from hoir_ray.packs.pack import Pack
from hoir_ray.packs.quantization.distortion import Distortion
from hoir_ray.packs.quantization.fine_tuning import fine_tune
from hoir_ray.packs.quantization.goal import Goal
from hoir_ray.packs.quantization.output_layer import refit
from hoir_ray.packs.quantization.search import (
    Codes,
    estimated_bits,
    rounded_weights,
    search_codes,
    set_weights,
    uniform_codes,
    weights_of,
)
from hoir_ray.training.config import QuantizationConfig
from hoir_ray.training.data import TaskData
from hoir_ray.training.predict import predict

FINEST_TRADE, COARSEST_TRADE = 2.0**-8, 2.0**12
_STRIDE = 4.0
_NUM_BISECTIONS = 5
_MAX_FILLS = 16
_IN_MEMORY = Path("stored.hoir")


@dataclass(frozen=True, kw_only=True)
class Form:
    """A network as a file holds it.

    Attributes:
        content: The file; its length is the size.
        codes: The step of each tensor.
        metrics: The task's metrics of what the decoded file draws on the validation data; empty without data.
        trade: What a relative byte was taken to be worth, as in `search.search_codes`; 0 where nothing was searched.
    """

    content: bytes
    codes: Codes
    metrics: dict[str, float]
    trade: float

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    @property
    def psnr_db(self) -> float:
        return self.metrics["val_psnr_db"]


Show = Callable[[Form], None]


def find_form(
    pack: Pack, data: TaskData, *, goal: Goal, start: Form | None = None, show: Show = lambda form: None
) -> Form:
    """The stored form that meets the goal best; the pack's network keeps its weights.

    Args:
        start: A form of nearly the same weights, whose steps the search begins with.
        show: Gets every form that is tried.

    Raises:
        RequestError: If no form meets the goal; says the nearest that was found and its size.
    """
    former = _Former(pack, data, show=show)
    if goal.bits is not None:
        return former.uniform(goal.bits)
    first = former.searched(start.trade if start else goal.trade, start=start)
    found = [first] if goal.is_usual else former.explore(goal, first)
    meeting = [form for form in found if goal.is_met(size_bytes=form.size_bytes, psnr_db=form.psnr_db)]
    if not meeting:
        nearest = min(found, key=lambda form: goal.distance(size_bytes=form.size_bytes, psnr_db=form.psnr_db))
        raise RequestError(
            f"{goal}: cannot be met; the nearest form found has {nearest.size_bytes:,} bytes "
            f"and {nearest.psnr_db:.2f} dB"
        )
    best = min(meeting, key=lambda form: goal.rank(size_bytes=form.size_bytes, psnr_db=form.psnr_db))
    return best if goal.max_bytes is None else former.filled(best, max_bytes=goal.max_bytes)


def uniform_form(pack: Pack, *, bits: float) -> Form:
    """The form in which each tensor's range is cut into 2**bits - 1 steps, for which no data is needed."""
    codes = uniform_codes(weights_of(pack.network), bits=bits)
    return Form(content=encode(pack, codes), codes=codes, metrics={}, trade=0.0)


def measure_file(content: bytes, data: TaskData) -> dict[str, float]:
    """The task's metrics of what a file draws, decoded from its bytes."""
    pack = decode(content, path=_IN_MEMORY)
    prediction, target = predict(pack.network, data.val)
    return pack.task.score(prediction, target, data)


def find_tuned_form(
    pack: Pack,
    data: TaskData,
    *,
    goal: Goal,
    quantization: QuantizationConfig,
    show: Show = lambda form: None,
    say: Callable[[str], None] = lambda text: None,
) -> Form:
    """The stored form that meets the goal best after training on under rounding; the pack's network keeps its weights.

    Args:
        quantization: How long and at which rate.
        show: Gets every form that is tried.
        say: Gets what takes longer than a search.

    Raises:
        RequestError: If no form meets the goal; says the nearest that was found and its size.
        DivergedError: If the loss became NaN or infinite.
    """
    form = find_form(pack, data, goal=goal, show=show)
    if quantization.fraction == 0:
        return form
    say("fine-tuning under rounding")
    tuned = replace(pack, network=copy.deepcopy(pack.network))
    fine_tune(tuned.network, data, form.codes, training=pack.config.training, quantization=quantization)
    return find_form(tuned, data, goal=goal, start=form, show=show)


class _Former:
    def __init__(self, pack: Pack, data: TaskData, *, show: Show) -> None:
        self._pack, self._data, self._show = pack, data, show
        self._weights = weights_of(pack.network)
        self._distortion = Distortion(pack.network, data.val)

    def searched(self, trade: float, *, start: Form | None = None) -> Form:
        """The form with steps searched for this trade."""
        try:
            codes = search_codes(self._distortion, self._weights, trade=trade, start=start.codes if start else None)
        finally:
            set_weights(self._pack.network, self._weights)
        return self._with(codes, trade=trade)

    def filled(self, form: Form, *, max_bytes: int) -> Form:
        """The form with finer steps where they help most, as long as the file stays within `max_bytes`."""
        taken = [form.codes]
        size, mse = float(form.size_bytes), self._mse(form.codes)
        while len(taken) <= _MAX_FILLS:
            finer = [self._finer(taken[-1], name) for name in taken[-1]]
            fitting = [(self._mse(codes), bytes_, codes) for codes, bytes_ in finer if size + bytes_ <= max_bytes]
            best = min(fitting, key=lambda option: option[0], default=None)
            if best is None or best[0] >= mse:
                break
            mse, size = best[0], size + best[1]
            taken.append(best[2])
        for codes in reversed(taken[1:]):  # their sizes were estimated
            found = self._with(codes, trade=form.trade)
            if found.size_bytes <= max_bytes:
                return max(form, found, key=lambda f: f.psnr_db)
        return form

    def _finer(self, codes: Codes, name: str) -> tuple[Codes, float]:
        """One tensor's step made finer, and about how many bytes that costs."""
        code = codes[name]
        if code <= LOWEST_CODE:
            return codes, math.inf
        before, after = (estimated_bits(self._weights[name], code=c) for c in (code, code - 1))
        return {**codes, name: code - 1}, (after - before) / 8

    def _mse(self, codes: Codes) -> float:
        set_weights(self._pack.network, rounded_weights(self._weights, codes))
        mse = self._distortion()
        set_weights(self._pack.network, self._weights)
        return mse

    def _with(self, codes: Codes, *, trade: float) -> Form:
        """The form with these steps, and its output layer solved again."""
        network = self._pack.network
        try:
            set_weights(network, rounded_weights(self._weights, codes))
            weights = weights_of(network)
            if (name := refit(self._distortion, weights, code=None)) is not None:
                refit(self._distortion, weights, code=codes[name])
            set_weights(network, weights)
            content = encode(self._pack, codes)
        finally:
            set_weights(network, self._weights)
        return self._measured(content, codes, trade=trade)

    def uniform(self, bits: float) -> Form:
        form = uniform_form(self._pack, bits=bits)
        return self._measured(form.content, form.codes, trade=form.trade)

    def explore(self, goal: Goal, first: Form) -> list[Form]:
        """Forms on both sides of where the goal begins to hold: trades grow or shrink until it does, then close in."""

        def goes_coarser(form: Form) -> bool:
            return goal.leaves_room(size_bytes=form.size_bytes, psnr_db=form.psnr_db)

        rises = goes_coarser(first)
        found = [first]
        inside = outside = first
        while goes_coarser(outside) == rises and FINEST_TRADE < outside.trade < COARSEST_TRADE:
            inside = outside
            outside = self.searched(inside.trade * (_STRIDE if rises else 1 / _STRIDE), start=inside)
            found.append(outside)
        if goes_coarser(outside) == rises:
            return found
        for _ in range(_NUM_BISECTIONS):
            middle = self.searched((inside.trade * outside.trade) ** 0.5, start=inside)
            found.append(middle)
            inside, outside = (middle, outside) if goes_coarser(middle) == rises else (inside, middle)
        return found

    def _measured(self, content: bytes, codes: Codes, *, trade: float) -> Form:
        form = Form(content=content, codes=codes, metrics=measure_file(content, self._data), trade=trade)
        self._show(form)
        return form
