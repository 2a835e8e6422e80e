from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hoir_ray.errors import PackError, StorageError
from hoir_ray.packs.pack import FILES, load_pack, write_pack
from hoir_ray.storage.manifest import MANIFEST
from hoir_ray.tasks import load_task


def write(folder: Path) -> torch.nn.Module:
    task = load_task("image")
    config = task.config.model_validate({"data": {"max_side": 8}, "network": {"hidden": {"width": 4}}})
    network = task.network(config)
    write_pack(
        folder,
        task=task,
        config=config,
        facts=task.facts(height=8, width=8, num_pixels=64),
        state=network.state_dict(),
        metrics={"val_loss": 0.5},
        preview=torch.zeros(8, 8, 3),
    )
    return network


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    write(tmp_path / "pack")
    return tmp_path / "pack"


def rewrite(pack: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file and make the manifest agree, as somebody with bad intentions or another version would."""
    document = json.loads((pack / name).read_text())
    change(document)
    (pack / name).write_text(json.dumps(document))
    if name != MANIFEST:
        content = (pack / name).read_bytes()
        entry = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        rewrite(pack, MANIFEST, lambda manifest: manifest["files"].__setitem__(name, entry))


def test_a_pack_holds_five_files_and_gives_the_weights_back(tmp_path: Path) -> None:
    network = write(tmp_path / "pack")
    assert sorted(p.name for p in (tmp_path / "pack").iterdir()) == sorted([*FILES, MANIFEST])
    pack = load_pack(tmp_path / "pack")
    assert pack.metrics == {"val_loss": 0.5}
    assert not pack.network.training
    for name, weights in network.state_dict().items():
        assert torch.equal(pack.network.state_dict()[name], weights)


def test_a_pack_may_be_written_over(pack: Path) -> None:
    write(pack)
    load_pack(pack)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_named(name: str, pack: Path) -> None:
    (pack / name).unlink()
    with pytest.raises(PackError, match=name):
        load_pack(pack)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flipped", "truncated", "longer", "emptied"])
def test_a_damaged_file_is_named(name: str, damage: str, pack: Path) -> None:
    content = bytearray((pack / name).read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    content = {"truncated": content[:-1], "longer": content + b"\0", "emptied": bytearray()}.get(damage, content)
    (pack / name).write_bytes(content)
    with pytest.raises(PackError, match=f"{name}: damaged"):
        load_pack(pack)


def test_a_link_is_refused(pack: Path, tmp_path: Path) -> None:
    (pack / "metrics.json").replace(tmp_path / "elsewhere.json")
    (pack / "metrics.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(PackError, match=r"metrics\.json: is a link"):
        load_pack(pack)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "extra.bin"])
def test_names_in_the_manifest_are_the_packs_own(name: str, pack: Path) -> None:
    rewrite(pack, MANIFEST, lambda m: m["files"].__setitem__(name, {"size_bytes": 1, "sha256": "0" * 64}))
    with pytest.raises(PackError, match=r"must list exactly|is broken"):
        load_pack(pack)


@pytest.mark.parametrize("content", ["[]", "{", "null", "[" * 60_000, '{"format": 1}', '{"format": 1, "files": 3}'])
def test_a_broken_manifest_is_named(content: str, pack: Path) -> None:
    (pack / MANIFEST).write_text(content)
    with pytest.raises(PackError, match=r"manifest\.json"):
        load_pack(pack)


@pytest.mark.parametrize("name", ["config.json", MANIFEST])
def test_a_newer_format_is_named(name: str, pack: Path) -> None:
    rewrite(pack, name, lambda d: d.__setitem__("format", 99))
    with pytest.raises(PackError, match=rf"{name}: format 99.*newer"):
        load_pack(pack)


def test_an_unknown_task_is_named(pack: Path) -> None:
    rewrite(pack, "config.json", lambda d: d.__setitem__("task", "os"))
    with pytest.raises(PackError, match=r"config\.json.*unknown task 'os'"):
        load_pack(pack)


def test_a_config_that_does_not_fit_is_named(pack: Path) -> None:
    rewrite(pack, "config.json", lambda d: d["config"].__setitem__("colour", 3))
    with pytest.raises(PackError, match=r"config\.json.*colour"):
        load_pack(pack)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("height", "tall", r"facts\.height: should be a valid integer.*got 'tall'"),
        ("width", 1, r"facts\.width: should be greater than or equal to 2, got 1"),
        ("num_pixels", 7, r"facts: num_pixels must be 8 x 8, got 7"),
        ("depth", 3, r"facts\.depth: unknown key"),
    ],
)
def test_wrong_facts_are_named(name: str, value: object, says: str, pack: Path) -> None:
    rewrite(pack, "config.json", lambda d: d["facts"].__setitem__(name, value))
    with pytest.raises(PackError, match=rf"config\.json.*{says}"):
        load_pack(pack)


def test_weights_of_another_network_are_named(pack: Path) -> None:
    rewrite(pack, "config.json", lambda d: d["config"]["network"]["hidden"].__setitem__("width", 5))
    with pytest.raises(PackError, match=r"model\.safetensors: does not fit"):
        load_pack(pack)


def test_no_folder_is_no_pack(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="no such model pack"):
        load_pack(tmp_path / "nothing")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be written"):
        write(tmp_path / "file" / "pack")


HUGE = """
import resource, sys
from pathlib import Path
from hoir_ray.errors import RequestError
from hoir_ray.packs.pack import load_pack
from hoir_ray.packs.render import draw, read_flags

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    pack = load_pack(Path(sys.argv[1]))
    draw(pack, read_flags(sys.argv[2:], pack.task), out=Path(sys.argv[1], "out.png"))
except RequestError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def _claim_weights(pack: Path) -> None:
    """A header that names more numbers than the file has bytes."""
    content = (pack / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    name = next(n for n in header if n != "__metadata__")
    header[name]["shape"] = [2**40]
    text = json.dumps(header).encode()
    (pack / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    rewrite(pack, "metrics.json", dict.copy)
    entry = {
        "size_bytes": (pack / "model.safetensors").stat().st_size,
        "sha256": hashlib.sha256((pack / "model.safetensors").read_bytes()).hexdigest(),
    }
    rewrite(pack, MANIFEST, lambda manifest: manifest["files"].__setitem__("model.safetensors", entry))


@pytest.mark.parametrize(
    ("claim", "flags", "complaint"),
    [
        ("a wide network", [], "does not fit the network of config.json"),
        ("a wide network, and weights", [], "does not fit the network of config.json"),
        ("a large picture", [], "at most 100,000,000 pixels are drawn, got 30000x30000"),
        ("many axes", ["--size", "30000x30000"], "--size: at most 100,000,000 pixels"),
        ("a long file", [], "'metrics.json' may have 1,048,576 bytes"),
    ],
)
def test_what_a_pack_says_of_its_size_is_not_believed(claim: str, flags: list[str], complaint: str, pack: Path) -> None:
    if "network" in claim:
        wide = {"width": 65_536, "num_layers": 8}
        rewrite(pack, "config.json", lambda d: d["config"]["network"]["hidden"].update(wide))
    if "weights" in claim:
        _claim_weights(pack)
    if "picture" in claim:
        rewrite(pack, "config.json", lambda d: d["facts"].update(height=30_000, width=30_000, num_pixels=900_000_000))
    if "file" in claim:
        with (pack / "metrics.json").open("ab") as file:
            file.truncate(2**33)
        rewrite(pack, MANIFEST, lambda d: d["files"]["metrics.json"].update(size_bytes=2**33))
    done = subprocess.run([sys.executable, "-c", HUGE, pack, *flags], capture_output=True, text=True, check=True)
    message, grown_mib = done.stdout.splitlines()
    assert complaint in message
    assert float(grown_mib) < 100
