"""Captions with their pictures, read from parquet a row group's slice at a time. The one place that knows pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import torch
from jaxtyping import Float, UInt8
from pyarrow import parquet
from torch import Tensor

from hoir_ray.errors import DataError
from hoir_ray.machine.files import open_regular
from hoir_ray.pictures.load import check_unusable, decode_picture, load_picture
from hoir_ray.tasks.text_to_image.config import SAMPLE_PHOTOS, TextToImageData
from hoir_ray.wording import quoted

ROWS_AT_A_TIME = 16
BYTES_PER_MB = 2**20
SAMPLE_CAPTIONS = {
    "astronaut": "a smiling astronaut in an orange suit before a flag and a model of a space shuttle",
    "brick": "a wall of bricks",
    "camera": "a man in a coat looks through a camera on a tripod",
    "chelsea": "the face of a ginger cat with green eyes",
    "coffee": "a cup of black coffee with a spoon on a wooden table",
    "coins": "rows of old Greek coins",
    "grass": "a lawn from above",
    "gravel": "gravel from above",
    "hubble_deep_field": "hundreds of far galaxies in the dark of the sky",
    "ihc": "stained cells under the microscope, brown and blue",
    "moon": "craters on the surface of the moon",
    "motorcycle": "a red motorcycle in a garage",
    "page": "a page of printed text in poor light",
    "retina": "the retina of an eye with its blood vessels",
    "rocket": "a rocket on the launch pad at night",
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One caption of the dictionary with its picture and, where the data brings it, its embedding."""

    caption: str
    picture: UInt8[Tensor, "height width 3"]
    embedding: Float[Tensor, " embedding"] | None = None


def read_entries(config: TextToImageData) -> list[Entry]:
    """The first `max_images` captions that are not yet there, with their pictures.

    Raises:
        DataError: If a file or a column of it is missing or broken, more than a tenth of the rows are unusable, or the
            pictures need more than `memory_mb`.
    """
    entries: dict[str, Entry] = {}
    problems: list[str] = []
    num_rows, num_bytes = 0, 0
    for where, row in _rows(config):
        num_rows += 1
        caption = row["caption"]
        if isinstance(caption, str) and caption in entries:
            continue
        try:
            usable, entry = _usable_caption(caption, where=where), _entry(row, where=where, config=config)
        except DataError as error:
            problems.append(str(error))
            continue
        num_bytes += entry.picture.numel()
        if num_bytes > config.memory_mb * BYTES_PER_MB:
            fitting = f"set data.max_images to {len(entries)}, which fit" if entries else "the first does not fit"
            raise DataError(
                f"data.memory_mb: {config.memory_mb} MB are too few for {config.max_images} pictures; {fitting}, "
                f"shrink pictures by data.max_side, or raise data.memory_mb"
            )
        entries[usable] = entry
        if len(entries) == config.max_images:
            break
    files = ", ".join(config.files)
    check_unusable(problems, num_pictures=num_rows, where=files)
    if not entries:
        raise DataError(f"{files}: no rows, expected captions with pictures")
    return list(entries.values())


def _usable_caption(caption: Any, *, where: str) -> str:
    if not isinstance(caption, str):
        raise DataError(f"{where}: the caption must be text, got {caption!r}")
    if not caption.strip():
        raise DataError(f"{where}: the caption must be text, got {quoted(caption)}")
    return caption


def _entry(row: dict[str, Any], *, where: str, config: TextToImageData) -> Entry:
    if "sample" in row:
        return Entry(caption=row["caption"], picture=load_picture(row["sample"], max_side=config.max_side))
    encoded = row["picture"]
    if isinstance(encoded, dict):
        encoded = encoded.get("bytes")
    if not isinstance(encoded, bytes):
        raise DataError(f"{where}: the picture must be bytes, got {type(encoded).__name__}")
    picture = decode_picture(encoded, name=where, max_side=config.max_side)
    if min(picture.shape[:2]) < 2:
        raise DataError(f"{where}: both sides of the picture must be at least 2 pixels")
    return Entry(caption=row["caption"], picture=picture, embedding=_embedding(row, where=where))


def _embedding(row: dict[str, Any], *, where: str) -> Tensor | None:
    if "embedding" not in row:
        return None
    try:
        vector = torch.tensor(row["embedding"], dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{where}: the embedding must be a list of numbers") from error
    if vector.ndim != 1 or not bool(vector.isfinite().all()):
        raise DataError(f"{where}: the embedding must be a list of finite numbers")
    return vector


def _rows(config: TextToImageData) -> Iterator[tuple[str, dict[str, Any]]]:
    columns = {"caption": config.caption_column, "picture": config.image_column}
    if config.embedding_column is not None:
        columns["embedding"] = config.embedding_column
    for file in config.files:
        if file == SAMPLE_PHOTOS:
            for name, caption in SAMPLE_CAPTIONS.items():
                yield f"sample:{name}", {"caption": caption, "sample": f"sample:{name}"}
        else:
            yield from _parquet_rows(file, columns=columns)


def _parquet_rows(file: str, *, columns: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    path = Path(file).expanduser()
    if not path.exists() or path.is_dir():
        raise DataError(f"{file}: {'is a folder, expected a parquet file' if path.is_dir() else 'no such file'}")
    try:
        with open_regular(path) as content, parquet.ParquetFile(content) as table:
            missing = [name for name in columns.values() if name not in table.schema_arrow.names]
            if missing:
                has = ", ".join(table.schema_arrow.names)
                raise DataError(f"{file}: must have the column '{missing[0]}', has {has}")
            number = 0
            for batch in table.iter_batches(batch_size=ROWS_AT_A_TIME, columns=list(columns.values())):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{file} row {number}", {key: row[name] for key, name in columns.items()}
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.filename:  # by the system, not by the parquet reader
            raise DataError(f"{file}: cannot be read: {error.strerror}") from None
        why = str(error).strip().splitlines()[0]
        raise DataError(f"{file}: is not a whole parquet file: {why}") from error
