from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hoir_ray.errors import PackError
from hoir_ray.packs.codec import container, header
from hoir_ray.packs.codec.file import decode, encode
from hoir_ray.packs.codec.header import Header
from hoir_ray.packs.codec.steps import step_size
from hoir_ray.packs.load import load
from hoir_ray.packs.pack import Pack
from hoir_ray.packs.quantization.search import uniform_codes, weights_of
from hoir_ray.packs.render import draw
from hoir_ray.tasks.text_to_image.data import dictionary_of
from tests.packs.codec.small import FACTS, codes_of, small_pack

VECTORS = Path(__file__).parent / "vectors"
TASKS = sorted(FACTS)
LAYERS = ("continuous", "discontinuous_prod", "polynomial", "fourier", "product", "switch_continuous", "relu")


def weights_sha256(pack: Pack) -> str:
    """Of names, shapes and float32 bytes in order: what must be the same on every machine."""
    digest = hashlib.sha256()
    for name, weights in pack.network.state_dict().items():
        digest.update(f"{name} {list(weights.shape)}\n".encode() + weights.numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def plain_facts(pack: Pack) -> dict[str, Any]:
    return {name: value for name, value in pack.facts.model_dump().items() if "base64" not in name}


@pytest.mark.parametrize("task", TASKS)
def test_a_pack_of_every_task_comes_back(task: str, tmp_path: Path) -> None:
    pack = small_pack(task, seed=7)
    back = decode(encode(pack, codes_of(pack)), path=Path("x.hoir"))
    assert back.task.name == task
    assert back.config.network == pack.config.network
    assert back.config.training.seed == 7
    assert plain_facts(back) == plain_facts(pack)
    for name, weights in pack.network.state_dict().items():
        assert torch.allclose(back.network.state_dict()[name], weights, atol=0.51 * step_size(-20))
    draw(back, back.task.render_options(), out=tmp_path / "drawn.png")


@pytest.mark.parametrize("layer_type", LAYERS)
def test_every_kind_of_layer_comes_back(layer_type: str) -> None:
    pack = small_pack(layer_type=layer_type, normalization="layer_norm", periodicity=2.0)
    once = encode(pack, codes_of(pack))
    back = decode(once, path=Path("x.hoir"))
    assert back.config.network == pack.config.network
    assert encode(back, codes_of(back)) == once  # weights on the steps are kept to the bit


def test_the_embeddings_of_a_dictionary_come_back_nearly() -> None:
    pack = small_pack("text_to_image")
    before = dictionary_of(pack.facts)
    after = dictionary_of(decode(encode(pack, codes_of(pack)), path=Path("x.hoir")).facts)
    assert list(after) == list(before)
    for caption, vector in before.items():
        assert torch.allclose(after[caption], vector, atol=1e-3)


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.hoir")), ids=lambda path: path.stem)
def test_files_of_earlier_days_decode_to_the_same_bits(path: Path) -> None:
    expected = json.loads((VECTORS / "sha256.json").read_text())
    assert weights_sha256(load(path)) == expected[path.stem]


def test_there_is_a_file_of_earlier_days_for_every_task() -> None:
    assert json.loads((VECTORS / "sha256.json").read_text()).keys() == {path.stem for path in VECTORS.glob("*.hoir")}
    assert {load(path).task.name for path in VECTORS.glob("*.hoir")} == set(TASKS)


def test_every_flipped_bit_of_a_file_is_an_error_and_so_are_all_cuts() -> None:
    pack = small_pack()
    content = encode(pack, codes_of(pack, -8))
    for position in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            with pytest.raises(PackError):
                decode(bytes(damaged), path=Path("x.hoir"))
        with pytest.raises(PackError):
            decode(content[:position], path=Path("x.hoir"))
    with pytest.raises(PackError):
        decode(content + b"\0", path=Path("x.hoir"))


def crafted(body: bytes = bytes(100), **changes: Any) -> bytes:
    """A whole file with the right checksum, made to do harm."""
    pack = small_pack()
    config = pack.config.model_dump(mode="json")
    data = {k: v for k, v in config["data"].items() if k != "image"}
    parts: dict[str, Any] = {
        "task": "image",
        "network": config["network"],
        "data": data,
        "seed": 0,
        "facts": {"height": 6, "width": 8},
    }
    return container.join(header.pack(Header(**(parts | changes))), body)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"network": {"hidden": {"width": 65_536, "num_layers": 256}}}, "at most 67,108,864 weights, got"),
        ({"network": {"hidden": {"width": 1000}}}, "100 bytes cannot hold"),
        ({"network": {"hidden": {"width": 10**9}}}, "hidden.width"),
        ({"network": {"segmnets": 3}}, "unknown key"),
        ({"task": "film"}, "unknown task 'film'"),
        ({"facts": {"height": 10**9, "width": 10**9}}, "at most 100,000,000 pixels"),
        ({"facts": {"height": 6}}, "height and width"),
        ({"facts": {"height": "6", "width": 8}}, "height and width"),
        ({"facts": {"a_f32_base64": {"float32": 10**12}}}, "weights"),
        ({"facts": {"a_f32_base64": {"float32": -1}}}, "how many numbers"),
        ({"facts": {"a_f32_base64": "AAAA"}}, "how many numbers"),
        ({"facts": {"captions": [1, 2]}}, "must be a number, a text or a list of texts"),
        ({"facts": {"deep": {"er": {}}}}, "must be a number, a text or a list of texts"),
        ({"seed": 2**40}, "seed"),
    ],
)
def test_absurd_headers_are_refused_before_anything_is_allocated(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(PackError, match=rule):
        decode(crafted(**changes), path=Path("x.hoir"))


def test_a_network_that_is_built_otherwise_today_is_no_other_picture() -> None:
    pack = small_pack()
    content = bytearray(encode(pack, codes_of(pack))[: -container.CHECKSUM_BYTES])
    body = container.split(encode(pack, codes_of(pack)), name="x.hoir")[1]
    content[content.index(body)] ^= 1
    written = bytes(content) + zlib.crc32(content).to_bytes(container.CHECKSUM_BYTES, "big")
    with pytest.raises(PackError, match="builds this network in another way"):
        decode(written, path=Path("x.hoir"))


def test_a_header_that_inflates_without_end_is_refused() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = bomb.compress(b'["image"' + b" " * (header.MAX_JSON_BYTES + 10)) + bomb.flush()
    with pytest.raises(PackError, match="longer than"):
        decode(container.join(packed, b""), path=Path("x.hoir"))


@pytest.mark.parametrize("text", [b"[]", b"{}", b'["image",{},{},true,{}]', b"[" * 5000, b"\xff", b""])
def test_a_header_that_is_no_header_is_refused(text: bytes) -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    with pytest.raises(PackError, match="header"):
        decode(container.join(deflate.compress(text) + deflate.flush(), b""), path=Path("x.hoir"))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_no_number_is_refused_by_its_name(bad: float) -> None:
    pack = small_pack()
    with torch.no_grad():
        next(pack.network.parameters()).view(-1)[3] = bad
    with pytest.raises(PackError, match=r"weight 'layers\.0\.weight': all must be finite"):
        encode(pack, codes_of(pack))


@pytest.mark.parametrize("value", [0.0, 0.25, -3.0e38, 1e-44])
def test_weights_that_are_all_one_value_come_back(value: float) -> None:
    pack = small_pack()
    with torch.no_grad():
        for weights in pack.network.parameters():
            weights.fill_(value)
    content = encode(pack, uniform_codes(weights_of(pack.network), bits=12))
    assert len(content) < 300
    for weights in decode(content, path=Path("x.hoir")).network.parameters():
        assert torch.allclose(weights, torch.tensor(value), rtol=1e-3)


def test_one_enormous_weight_among_ordinary_ones_comes_back() -> None:
    pack = small_pack()
    with torch.no_grad():
        next(pack.network.parameters()).view(-1)[0] = 1e30
    back = decode(encode(pack, uniform_codes(weights_of(pack.network), bits=8)), path=Path("x.hoir"))
    assert float(next(back.network.parameters()).detach().view(-1)[0]) == pytest.approx(1e30, rel=0.01)


def test_the_smallest_network_is_a_file() -> None:
    pack = small_pack("neighborhood", layer_type="linear", hidden={"width": 1, "num_layers": 0})
    back = decode(encode(pack, codes_of(pack)), path=Path("x.hoir"))
    assert back.network.state_dict().keys() == pack.network.state_dict().keys()


def test_a_name_of_a_local_file_is_not_given_away_and_a_sample_is() -> None:
    pack = small_pack()
    local = pack.config.model_copy(
        update={"data": pack.config.data.model_copy(update={"image": "/home/ada/secret.png"})}  # type: ignore[attr-defined]
    )
    content = encode(replace(pack, config=local), codes_of(pack))
    assert decode(content, path=Path("x.hoir")).missing == ("data.image",)
    assert b"secret" not in content
    back = decode(encode(pack, codes_of(pack)), path=Path("x.hoir"))
    assert back.missing == ()
    assert back.config.data == pack.config.data  # type: ignore[attr-defined]


def test_a_file_says_little_beside_its_weights() -> None:
    pack = small_pack(hidden={"width": 1})
    assert len(encode(pack, codes_of(pack, 0))) < 60
