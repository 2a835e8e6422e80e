"""A file's header: the parts of a pack's config that drawing needs, as JSON, deflated against a fixed dictionary."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hoir_ray.errors import PackError

MAX_JSON_BYTES = 2**24
_RAW_DEFLATE = -15

# Part of the format: another text here makes every file unreadable. All defaults are written out in a header, so that
# a file means the same when they change; what it shares with this text costs three bytes a run.
_DICTIONARY = (
    b'"relu""linear""switch_discontinuous""fourier""polynomial_prod""discontinuous""layer_norm""none""max_'
    b'center""l2""segments":1,"num_nodes":5,"num_layers":3}["neighborhood",{},{"images":["sample:astronaut'
    b'"],"val_images":[],"max_side":null,"width":3,"outside":3,"stride":1,"val_fraction":0.1,"max_val_posi'
    b'tions":50000},0,{"num_train_positions":0,"num_held_out_positions":0}]["random_interpolation",{},{"fo'
    b'lder":"sample:photos","size":64,"num_feature_pixels":32,"num_rotations":2,"sampler":"radial","random'
    b'_flips":true,"train_fraction":0.8,"validate_on":"val","samples_per_picture":null,"val_samples_per_pi'
    b'cture":512,"cache_mb":1024},0,{"num_train_pictures":0,"num_val_pictures":0,"num_test_pictures":0}]["'
    b'text_to_image",{},{"files":["sample:photos"],"caption_column":"caption","image_column":"jpg_0","embe'
    b'dding_column":null,"max_images":100,"max_side":256,"num_rotations":1,"text_model":"all-MiniLM-L6-v2"'
    b',"embedding_size":384,"allow_download":false,"val_pixels_per_picture":65536},0,{"captions":["a"],"si'
    b'zes":["256x256"],"embeddings_f32_base64":{"float32":384}}]["image",{"layer_type":"continuous","num_n'
    b'odes":3,"segments":2,"input":{"layer_type":null,"num_nodes":null,"segments":null},"hidden":{"layer_t'
    b'ype":null,"num_nodes":null,"segments":null,"width":40,"num_layers":1},"output":{"layer_type":null,"n'
    b'um_nodes":null,"segments":null},"normalization":"max_abs","periodicity":null},{"max_side":null,"num_'
    b'rotations":2},0,{"height":512,"width":768}]'
)


@dataclass(frozen=True, kw_only=True)
class Header:
    """Header of a file: everything before its numbers.

    Attributes:
        task: A task's name.
        network: The config's `network`, whole.
        data: The config's `data` without the names of local files.
        seed: The config's `training.seed`, which some tasks split their data by.
        facts: The pack's facts; an array of numbers is represented by its length and follows the weights.
    """

    task: str
    network: Mapping[str, Any]
    data: Mapping[str, Any]
    seed: int
    facts: Mapping[str, Any]


def pack(header: Header) -> bytes:
    """The header as a file has it."""
    parts = [header.task, header.network, header.data, header.seed, header.facts]
    text = json.dumps(parts, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    if len(text) > MAX_JSON_BYTES:
        raise PackError(f"the config and facts of a pack may have {MAX_JSON_BYTES:,} bytes, got {len(text):,}")
    deflate = zlib.compressobj(9, zlib.DEFLATED, _RAW_DEFLATE, 9, zdict=_DICTIONARY)
    return deflate.compress(text) + deflate.flush()


def unpack(content: bytes, *, name: str) -> Header:
    """The header back again.

    Args:
        name: The file's, for messages.

    Raises:
        PackError: If it is not a header, or larger than any may be.
    """
    inflate = zlib.decompressobj(_RAW_DEFLATE, zdict=_DICTIONARY)
    try:
        text = inflate.decompress(content, MAX_JSON_BYTES)
    except zlib.error as error:
        raise PackError(f"{name}: damaged; its header cannot be inflated: {error}") from error
    if not inflate.eof or inflate.unused_data:
        raise PackError(f"{name}: damaged; its header does not end, or is longer than {MAX_JSON_BYTES:,} bytes")
    try:
        parts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PackError(f"{name}: damaged; its header is not JSON: {error}") from error
    if not isinstance(parts, list) or [type(part) for part in parts] != [str, dict, dict, int, dict]:
        raise PackError(f"{name}: its header must be a task, network, data, seed and facts")
    task, network, data, seed, facts = parts
    return Header(task=task, network=network, data=data, seed=seed, facts=facts)
