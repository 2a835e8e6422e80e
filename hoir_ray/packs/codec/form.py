"""The stored form of a network: the file, its steps, and what it draws; by a size, by a quality, or by bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hoir_ray.packs.pack import Pack
from hoir_ray.errors import RequestError
from hoir_ray.packs.codec.distortion import Distortion
from hoir_ray.packs.codec.file import decode, encode
from hoir_ray.packs.codec.output_layer import refit
from hoir_ray.packs.codec.search import Codes, search_codes, set_weights, uniform_codes, weights_of
from hoir_ray.training.data import TaskData
from hoir_ray.training.predict import predict

USUAL_TRADE = 1.0
FINEST_TRADE, COARSEST_TRADE = 2.0**-8, 2.0**12
_NUM_BISECTIONS = 5
_IN_MEMORY = Path("stored.hoir")


@dataclass(frozen=True, kw_only=True)
class Form:
    """A network as a file holds it.

    Attributes:
        content: The file; its length is the size.
        codes: The step of each tensor.
        metrics: The task's metrics of what the decoded file draws, on the validation data.
        trade: What a relative byte was taken to be worth, as in `search.search_codes`.
    """

    content: bytes
    codes: Codes
    metrics: dict[str, float]
    trade: float

    @property
    def psnr_db(self) -> float:
        return self.metrics["val_psnr_db"]

    def __str__(self) -> str:
        return f"{len(self.content):,} bytes, {self.psnr_db:.2f} dB"


Show = Callable[[Form], None]


class Former:
    """Finds stored forms of one pack; the pack's network keeps its weights.

    Attributes:
        pack: What is stored.
    """

    def __init__(self, pack: Pack, data: TaskData, *, show: Show = lambda form: None) -> None:
        self.pack, self._data, self._show = pack, data, show
        self._weights = weights_of(pack.network)
        self._distortion = Distortion(pack.network, data.val)

    def at(self, trade: float = USUAL_TRADE, *, start: Codes | None = None) -> Form:
        """The form with steps searched for this trade between error and bytes, beginning with the steps of `start`."""
        network = self.pack.network
        try:
            codes = search_codes(self._distortion, self._weights, trade=trade, start=start)
            weights = weights_of(network)
            if (name := refit(self._distortion, weights, code=None)) is not None:
                refit(self._distortion, weights, code=codes[name])
            set_weights(network, weights)
            content = encode(self.pack, codes)
        finally:
            set_weights(network, self._weights)
        form = Form(content=content, codes=codes, metrics=measure_file(content, self._data), trade=trade)
        self._show(form)
        return form

    def within(self, max_bytes: int) -> Form:
        """The form of the highest PSNR in at most `max_bytes`.

        Raises:
            RequestError: If none is so small; says the smallest that was found.
        """
        found = self._explore(lambda form: len(form.content) > max_bytes)
        fitting = [form for form in found if len(form.content) <= max_bytes]
        if not fitting:
            nearest = min(found, key=lambda form: len(form.content))
            raise RequestError(f"--max-bytes {max_bytes}: the smallest form found has {nearest}")
        return max(fitting, key=lambda form: form.psnr_db)

    def reaching(self, min_psnr_db: float) -> Form:
        """The smallest form with at least `min_psnr_db`.

        Raises:
            RequestError: If none draws so well; says the best that was found.
        """
        found = self._explore(lambda form: form.psnr_db >= min_psnr_db)
        good = [form for form in found if form.psnr_db >= min_psnr_db]
        if not good:
            nearest = max(found, key=lambda form: form.psnr_db)
            raise RequestError(f"--min-psnr-db {min_psnr_db:g}: the best form found has {nearest}")
        return min(good, key=lambda form: len(form.content))

    def _explore(self, coarser: Callable[[Form], bool]) -> list[Form]:
        """Forms on both sides of where `coarser` changes, closer and closer; trades double until it does."""
        found = [self.at()]
        rises = coarser(found[0])
        inside = outside = found[0]  # of what `coarser` said of the first form
        while coarser(outside) == rises and FINEST_TRADE < outside.trade < COARSEST_TRADE:
            inside = outside
            outside = self.at(inside.trade * (2 if rises else 0.5), start=inside.codes)
            found.append(outside)
        if coarser(outside) == rises:
            return found
        for _ in range(_NUM_BISECTIONS):
            middle = self.at((inside.trade * outside.trade) ** 0.5, start=inside.codes)
            found.append(middle)
            inside, outside = (middle, outside) if coarser(middle) == rises else (inside, middle)
        return found


def uniform_form(pack: Pack, data: TaskData | None, *, bits: float) -> Form:
    """The form in which each tensor's range is cut into 2**bits - 1 steps; without data, nothing is measured."""
    codes = uniform_codes(weights_of(pack.network), bits=bits)
    content = encode(pack, codes)
    form = Form(content=content, codes=codes, metrics={}, trade=0.0)
    return form if data is None else replace(form, metrics=measure_file(content, data))


def measure_file(content: bytes, data: TaskData) -> dict[str, float]:
    """The task's metrics of what a file draws, decoded from its bytes."""
    pack = decode(content, path=_IN_MEMORY)
    prediction, target = predict(pack.network, data.val)
    return pack.task.score(prediction, target, data)
