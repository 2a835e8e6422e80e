"""Captions as vectors: from a sentence-transformers model, each caption once and then from a cache, or by hashing."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
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
from hoir_ray.tasks.text_to_image.config import HASHING, PACKAGE, TextToImageData
from hoir_ray.wording import quoted

HUB_TIMEOUT_S = 10.0
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
    caches = [folder / _cache_name(model_folder(config.text_model)) for folder in _cache_folders(beside)]
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


def model_folder(text_model: str) -> str:
    """The folder that a text model lies in, where the name says one; else the name as it is.

    Raises:
        DataError: If `package:<name>` is not installed, or brings no text model or several.
    """
    if not text_model.startswith(PACKAGE):
        return str(Path(text_model).expanduser()) if text_model.startswith("~") else text_model
    name = text_model.removeprefix(PACKAGE).replace("-", "_")
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None:
        raise DataError(f"data.text_model: '{text_model}' needs that Python package, which is not installed here")
    folders = spec.submodule_search_locations or []
    models = [found.parent for folder in folders for found in Path(folder).rglob("modules.json")]
    if len(models) != 1:
        raise DataError(
            f"data.text_model: '{text_model}' must bring one sentence-transformers model, has {len(models)}"
        )
    return str(models[0])


def _encode(captions: list[str], *, config: TextToImageData) -> Float[np.ndarray, "captions embedding"]:
    model = _load_model(config)
    _warn_of_long(captions, model=model)
    return model.encode(captions, convert_to_numpy=True, show_progress_bar=False).astype(np.float32)


def _load_model(config: TextToImageData) -> Any:
    name = config.text_model
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.utils import HfHubHTTPError
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise DataError(
            f"data.text_model '{name}' needs sentence-transformers: pip install 'hoir-ray[text]', "
            f"or give data.embedding_column, or set data.text_model to '{HASHING}'"
        ) from error
    disable_progress_bar()
    folder = Path(model_folder(name))
    if not folder.is_dir() and (folder.is_absolute() or name.startswith(".") or name.count("/") > 1):
        raise DataError(f"data.text_model: no such folder '{name}'; no download was tried")
    try:
        return SentenceTransformer(str(folder), local_files_only=True)
    except Exception as error:  # what the hub, the tokenizer and the weights raise has no common root
        if folder.is_dir():
            raise DataError(
                f"data.text_model: the folder '{name}' holds no sentence-transformers model: {_why(error)}"
            ) from error
        if not config.allow_download:
            raise DataError(
                f"data.text_model: '{name}' is not on this machine, and no download was tried; set data.allow_download "
                f"to true, or data.text_model to a folder that holds the model"
            ) from error
    try:
        with contextlib.suppress(HfHubHTTPError):  # a hub that answers is there, whatever it says of this name
            HfApi().model_info(name, timeout=HUB_TIMEOUT_S)  # the download would try for minutes to reach it
        return SentenceTransformer(name)
    except Exception as error:
        raise DataError(f"data.text_model: '{name}' could not be loaded or downloaded: {_why(error)}") from error


def _why(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _warn_of_long(captions: list[str], *, model: Any) -> None:
    longest = model.max_seq_length
    for caption in captions:
        num_tokens = len(model.tokenizer(caption, truncation=False, verbose=False)["input_ids"])
        if longest and num_tokens > longest:
            _log.warning(
                "the caption %s has %d tokens, of which the text model reads the first %d",
                quoted(caption),
                num_tokens,
                longest,
            )


def _cache_name(text_model: str) -> str:
    folder, identity = Path(text_model), text_model
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
