"""Captions as vectors: from a sentence-transformers model, each caption once and then from a cache, or by hashing."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hoir_ray.errors import DataError
from hoir_ray.machine.cache import cache_folder
from hoir_ray.machine.files import open_regular, replacing
from hoir_ray.tasks.text_to_image.config import HASHING, TextToImageData

_log = logging.getLogger(__name__)


def embed(
    captions: Sequence[str], *, config: TextToImageData, beside: Path | None = None
) -> Float[Tensor, "captions embedding"]:
    """One row per caption, from `config.text_model`.

    Args:
        beside: The folder in which a cache is looked for and kept first; the user's cache folder is the second.

    Raises:
        DataError: If the model cannot be loaded, or gives vectors of another size than `config.embedding_size`.
    """
    if config.text_model == HASHING:
        return torch.stack([hash_words(caption, size=config.embedding_size) for caption in captions])
    caches = [folder / _cache_name(config.text_model) for folder in _cache_folders(beside)]
    known = _read_cache(caches)
    missing = [caption for caption in dict.fromkeys(captions) if caption not in known]
    if missing:
        known |= dict(zip(missing, _encode(missing, config=config), strict=True))
        _write_cache(caches, known)
    vectors = torch.from_numpy(np.stack([known[caption] for caption in captions]))
    check_size(vectors, config=config, source=f"data.text_model '{config.text_model}'")
    return vectors


def check_size(vectors: Tensor, *, config: TextToImageData, source: str) -> None:
    """Raise DataError unless the vectors have the numbers that the network's caption layer takes."""
    if vectors.shape[1] != config.embedding_size:
        raise DataError(f"data.embedding_size: must be {vectors.shape[1]} for {source}, got {config.embedding_size}")


def hash_words(caption: str, *, size: int) -> Float[Tensor, " embedding"]:
    """A vector of length 1 to which each word, and each run of three letters in it, adds a signed one at its hash.

    Source: feature hashing, Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning".
    """
    vector = torch.zeros(size)
    for word in re.findall(r"\w+", caption.lower()):
        padded = f"<{word}>"
        for part in [padded, *(padded[i : i + 3] for i in range(len(padded) - 2))]:
            digest = int.from_bytes(hashlib.blake2b(part.encode(), digest_size=8).digest(), "big")
            vector[(digest >> 1) % size] += 1 if digest & 1 else -1
    return torch.nn.functional.normalize(vector, dim=0)


def _encode(captions: list[str], *, config: TextToImageData) -> Float[np.ndarray, "captions embedding"]:
    model = _load_model(config)
    _warn_of_long(captions, model=model)
    return model.encode(captions, convert_to_numpy=True, show_progress_bar=False).astype(np.float32)


def _load_model(config: TextToImageData) -> Any:
    name = config.text_model
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise DataError(
            f"data.text_model '{name}' needs sentence-transformers: pip install 'hoir-ray[text]', "
            f"or give data.embedding_column, or set data.text_model to '{HASHING}'"
        ) from error
    disable_progress_bar()
    folder = Path(name).expanduser()
    if not folder.is_dir() and (folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1):
        raise DataError(f"data.text_model: no such folder '{name}'; no download was tried")
    try:
        return SentenceTransformer(
            str(folder) if folder.is_dir() else name, local_files_only=folder.is_dir() or not config.allow_download
        )
    except Exception as error:  # what the hub, the tokenizer and the weights raise has no common root
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if folder.is_dir():
            raise DataError(
                f"data.text_model: the folder '{name}' holds no sentence-transformers model: {why}"
            ) from error
        if config.allow_download:
            raise DataError(f"data.text_model: '{name}' could not be loaded or downloaded: {why}") from error
        raise DataError(
            f"data.text_model: '{name}' is not on this machine, and no download was tried; set data.allow_download "
            f"to true, or data.text_model to a folder that holds the model"
        ) from error


def _warn_of_long(captions: list[str], *, model: Any) -> None:
    longest = model.max_seq_length
    for caption in captions:
        num_tokens = len(model.tokenizer(caption, truncation=False, verbose=False)["input_ids"])
        if longest and num_tokens > longest:
            _log.warning(
                "the caption '%s...' has %d tokens, of which the text model reads the first %d",
                caption[:60],
                num_tokens,
                longest,
            )


def _cache_name(text_model: str) -> str:
    folder = Path(text_model).expanduser()
    identity = text_model
    if folder.is_dir():
        stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.rglob("*.*"))]
        identity = f"{folder.resolve()} {stats}"
    readable = re.sub(r"[^\w.-]+", "-", folder.name)
    return f"{readable}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.npz"


def _cache_folders(beside: Path | None) -> list[Path]:
    user = cache_folder() / "embeddings"
    return [user] if beside is None else [beside / ".hoir-embeddings", user]


def _read_cache(caches: Sequence[Path]) -> dict[str, np.ndarray]:
    known: dict[str, np.ndarray] = {}
    for path in caches:
        try:
            with open_regular(path) as file, np.load(file, allow_pickle=False) as stored:
                captions, vectors = json.loads(str(stored["captions"])), stored["vectors"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            continue  # a cache that is missing or broken only costs the time to embed again
        if vectors.ndim == 2 and len(captions) == len(vectors):
            known |= dict(zip(captions, vectors, strict=True))
    return known


def _write_cache(caches: Sequence[Path], known: dict[str, np.ndarray]) -> None:
    for path in caches:
        try:
            with replacing(path) as file:
                np.savez(file, captions=np.array(json.dumps(list(known))), vectors=np.stack(list(known.values())))
        except OSError:
            continue
        return
    _log.warning("embeddings could not be kept in %s", " or in ".join(str(path.parent) for path in caches))
