"""Networks' files of a picture beside JPEG, WebP, AVIF and JPEG 2000 of the same picture: `hoir compare-codecs`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from hoir_ray.errors import RequestError
from hoir_ray.packs.codec.file import decode
from hoir_ray.packs.evaluate import config_on
from hoir_ray.packs.load import load
from hoir_ray.packs.pack import WEIGHTS, Pack
from hoir_ray.packs.quantization.form import find_form
from hoir_ray.packs.quantization.goal import Goal
from hoir_ray.pictures.codecs import CodecFiles, Encoded, all_codecs, codec_names, decoded
from hoir_ray.pictures.quality import psnr_db, ssim
from hoir_ray.pictures.rate_distortion import CodecCurves, Comparison, Panels, RatePoint
from hoir_ray.results.front import stored_front
from hoir_ray.results.metrics import metrics_of
from hoir_ray.results.pull import STORED, SUFFIX
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.summary import CODECS
from hoir_ray.results.sweep_results import SweepResults
from hoir_ray.tasks.contract import Task, TaskConfig

TRADES = (0.5, 1.0, 2.0, 4.0)  # of a folder's network, which is rounded more or less
MAX_FILES, MAX_PANELS = 12, 3
MAX_SHOWN = 768  # pixels of a side that is shown; of a larger picture, the middle
MAX_PUBLISHED = 1_500_000  # pixels of a picture whose curves are made in a few seconds
FURTHER = 3  # times the bytes of the largest network that the codecs' curves go to

Say = Callable[[str], object]


@dataclass(frozen=True)
class File:
    """A network's file as it lies on a disk, with its label and the pack that it decodes to."""

    label: str
    content: bytes
    pack: Pack


def is_pack(path: Path) -> bool:
    """True for a file, and for a folder that holds a model pack and no sweep."""
    return path.is_file() or path.suffix == SUFFIX or (path / WEIGHTS).is_file()


def files_of_pack(path: Path, settings: Sequence[str], *, say: Say) -> list[File]:
    """The one file of a `.hoir` path; of a folder's network, several, rounded more or less.

    Raises:
        PackError: If it is damaged.
        RequestError, DataError: If the data that it needs is not known or cannot be read.
    """
    pack = load(path)
    config = config_on(pack, settings)
    if path.is_file():
        return [File(path.name, path.read_bytes(), replace(pack, config=config, missing=()))]
    _check_task(pack)
    data = pack.task.data(config)
    files: dict[bytes, File] = {}
    for trade in TRADES:
        form = find_form(pack, data, goal=Goal(trade=trade))
        say(f"rounded: {form.size_bytes:,} bytes, {form.psnr_db:.2f} dB")
        rounded = replace(decode(form.content, path=path), config=config, missing=())
        files.setdefault(form.content, File(f"trade {trade:g}", form.content, rounded))
    return list(files.values())


def files_of_sweep(
    sweep: SweepResults, settings: Sequence[str], *, config: Callable[[TrialRecord], TaskConfig]
) -> list[File]:
    """The files of the sweep's front.

    Args:
        config: Of a trial, which names the picture.

    Raises:
        RequestError: If no trial keeps a file.
        PackError: If one is damaged.
        StorageError: If one cannot be read.
    """
    front = stored_front([r for r in sweep.leaderboard() if r.model is not None])
    if not front:
        raise RequestError(
            f"sweep '{sweep.spec.name}' keeps no network as one file; name stored_psnr_db or stored_bytes in its "
            "metrics, or pull a trial and compare the pack"
        )
    files = []
    for record in (front[i] for i in _spread(len(front), MAX_FILES)):
        content = sweep.storage.get(f"{record.model}/{STORED}")
        pack = replace(decode(content, path=Path(record.trial)), config=config(record), missing=())
        files.append(File(record.trial, content, replace(pack, config=config_on(pack, settings))))
    return files


def compare(files: Iterable[File], *, name: str, say: Say = lambda text: None) -> Comparison:
    """Draw what the files hold, and encode the picture that they stand for with other codecs.

    Raises:
        RequestError: If the networks are not of one picture.
        DataError: If the picture cannot be read here.
    """
    found = sorted(files, key=lambda f: len(f.content))
    task, config = found[-1].pack.task, found[-1].pack.config
    _check_task(found[-1].pack)
    assert task.original is not None
    original: Tensor = task.original(config)
    pairs = [(file, _drawn(file.pack)) for file in found]
    pairs = [(file, drawn) for file, drawn in pairs if drawn.shape == original.shape]
    if not pairs:
        height, width, _ = original.shape
        raise RequestError(f"{name}: no network is of a picture of {width} x {height} pixels; give another data.image")
    ours = tuple(_point(drawn, original, num_bytes=len(f.content), label=f.label) for f, drawn in pairs)
    encoders = {codec: CodecFiles(original, codec=codec) for codec in codec_names()}
    say(f"encoding as {', '.join(encoders)}")
    equal = [{c: e.within(point.size_bytes) for c, e in encoders.items()} for point in ours]
    curves = _curves(
        encoders,
        original,
        num_bytes=max(p.size_bytes for p in ours),
        best_psnr_db=max(p.psnr_db for p in ours),
        also=equal,
    )
    data: Any = config.model_dump()["data"]
    return Comparison(
        name=name,
        picture=str(data["image"]),
        ours=ours,
        curves=curves,
        equal=tuple({c: _of(e, original) if e else None for c, e in codecs.items()} for codecs in equal),
        original=_middle(original),
        panels=tuple(
            Panels(label=ours[i].label, size_bytes=ours[i].size_bytes, shown=_shown(ours[i], pairs[i][1], equal[i]))
            for i in _spread(len(ours), MAX_PANELS)
        ),
        missing=tuple(c for c in all_codecs() if c not in encoders),
    )


def publish_curves(sweep: SweepResults, *, task: Task[Any], config: TaskConfig) -> None:
    """Put the codecs' curves of a sweep's picture into its storage, for its report; none of a very large picture.

    Args:
        config: Of the training, which names the picture.

    Raises:
        DataError: If the picture cannot be read here.
        StorageError: If they cannot be written.
    """
    ours = [metrics_of(record) for record in stored_front(sweep.leaderboard())]
    if task.original is None or not ours:
        return
    original: Tensor = task.original(config)
    if original.shape[0] * original.shape[1] > MAX_PUBLISHED:
        return
    curves = _curves(
        {c: CodecFiles(original, codec=c) for c in codec_names()},
        original,
        num_bytes=int(max(m["stored_bytes"] for m in ours)),
        best_psnr_db=max(m["stored_psnr_db"] for m in ours),
    )
    sweep.storage.put(CODECS, curves.model_dump_json().encode())


def _curves(
    encoders: Mapping[str, CodecFiles],
    original: Tensor,
    *,
    num_bytes: int,
    best_psnr_db: float,
    also: Sequence[Mapping[str, Encoded | None]] = (),
) -> CodecCurves:
    """The codecs' curves as far as those of the networks, to `num_bytes` and `best_psnr_db`, and a little further.

    Args:
        also: Further files of the picture, by the codec's name.
    """
    limits: dict[str, Any] = {"max_bytes": FURTHER * num_bytes, "min_psnr_db": best_psnr_db}
    found = {
        codec: files.curve(**limits, also=[e for each in also if (e := each[codec]) is not None])
        for codec, files in encoders.items()
    }
    points = {codec: tuple(_of(e, original) for e in curve) for codec, curve in found.items()}
    return CodecCurves(height=original.shape[0], width=original.shape[1], codecs=points)


def _check_task(pack: Pack) -> None:
    if pack.task.original is None:
        raise RequestError(f"compare-codecs: networks of task '{pack.task.name}' are not of one picture; image's are")


def _drawn(pack: Pack) -> UInt8[Tensor, "height width 3"]:
    with torch.inference_mode():
        frame: Tensor = pack.task.render(pack.network, pack.config, pack.facts, pack.task.render_options())[0]
    return (frame * 255).round().to(torch.uint8).clone()


def _point(drawn: Tensor, original: Tensor, *, num_bytes: int, label: str = "") -> RatePoint:
    shown, true = drawn.float() / 255, original.float() / 255
    return RatePoint(size_bytes=num_bytes, psnr_db=psnr_db(shown, true), ssim=ssim(shown, true), label=label)


def _of(encoded: Encoded, original: Tensor) -> RatePoint:
    return _point(decoded(encoded.content), original, num_bytes=len(encoded.content))


def _shown(point: RatePoint, drawn: Tensor, equal: dict[str, Encoded | None]) -> dict[str, Tensor]:
    shown = {f"network, {point.size_bytes:,} bytes, {point.psnr_db:.2f} dB": _middle(drawn)}
    for codec, encoded in equal.items():
        if encoded is not None:
            caption = f"{codec}, {len(encoded.content):,} bytes, {encoded.psnr_db:.2f} dB"
            shown[caption] = _middle(decoded(encoded.content))
    return shown


def _middle(picture: Tensor) -> Tensor:
    height, width, _ = picture.shape
    top, left = (max(0, side - MAX_SHOWN) // 2 for side in (height, width))
    return picture[top : top + MAX_SHOWN, left : left + MAX_SHOWN]


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` places, evenly, the ends among them."""
    return sorted({math.floor(x + 0.5) for x in np.linspace(0, count - 1, min(count, most))})
