"""Where there is no compiler, layers run in plain torch and say so; where there is one, it runs once."""

import logging
import subprocess
from pathlib import Path

import pytest
import torch

from hoir_ray.machine import compiler
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
