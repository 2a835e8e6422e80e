"""The compiler runs once per source and machine; without one, layers run in plain torch and say so."""

import logging
import subprocess
from pathlib import Path

import pytest
import torch

from hoir_ray.machine import compiler
from hoir_ray.machine.cache import cache_folder
from hoir_ray.networks import NetworkConfig, build_mlp
from hoir_ray.networks.native import links as native
from hoir_ray.networks.native.library import library


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "seven.c"
    source.write_text("int seven(void) { return SEVEN; }\n")
    return source


@pytest.mark.skipif(library(torch.float32) is None, reason="no C compiler on this machine")
def test_compiles_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = compiler.load(fresh, defines=("SEVEN=7",))
    assert compiled is not None
    assert compiled.seven() == 7

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(subprocess, "run", refuse)
    assert compiler.load(fresh, defines=("SEVEN=7",)) is not None
    assert len(list((fresh.parent / "hoir_ray").iterdir())) == 1


def test_says_why_it_cannot_compile(fresh: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert compiler.load(fresh) is None
    assert "plain torch" in caplog.text


def test_runs_without_a_compiler(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_: None)
    library.cache_clear()
    try:
        network = build_mlp(NetworkConfig(), in_width=2, out_width=3)
        network(torch.rand(5, 2)).sum().backward()
        assert library(torch.float32) is None
    finally:
        library.cache_clear()


def test_threads_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "ROWS_PER_THREAD", 7)
    network = build_mlp(NetworkConfig(), in_width=2, out_width=3)
    x, threads = torch.rand(100, 2), torch.get_num_threads()
    found = []
    for num_threads in (1, 3):
        torch.set_num_threads(num_threads)
        output = network(x)
        found.append((output, *torch.autograd.grad(output.square().sum(), list(network.parameters()))))
    torch.set_num_threads(threads)
    for one, three in zip(*found, strict=True):
        assert torch.allclose(one, three, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(library(torch.float32) is None, reason="no C compiler on this machine")
@pytest.mark.parametrize("planted", ["a link", "writable by all"])
def test_a_library_that_others_could_have_written_is_not_run(planted: str, fresh: Path) -> None:
    assert compiler.load(fresh, defines=("SEVEN=7",)) is not None
    (library,) = (fresh.parent / "hoir_ray").iterdir()
    if planted == "a link":
        library.replace(fresh.parent / "elsewhere.so")
        library.symlink_to(fresh.parent / "elsewhere.so")
    else:
        library.chmod(0o777)
    before = library.lstat().st_ino
    assert compiler.load(fresh, defines=("SEVEN=7",)) is not None
    assert library.lstat().st_ino != before
    assert library.lstat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("folder", ["a link", "writable by all", "another user's"])
def test_the_cache_is_this_users_alone(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ours = tmp_path / "hoir_ray"
    if folder == "a link":
        (tmp_path / "elsewhere").mkdir()
        ours.symlink_to(tmp_path / "elsewhere")
        assert cache_folder() != ours
    elif folder == "writable by all":
        ours.mkdir()
        ours.chmod(0o777)
        assert cache_folder() == ours
        assert ours.stat().st_mode & 0o777 == 0o700
    else:
        ours.mkdir()
        monkeypatch.setattr("os.getuid", lambda: 12_345)
        assert cache_folder() != ours
