"""The compiled call: threads, memory, what it refuses, and a compiler that does not do its work."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from hoir_ray.networks import NetworkConfig, build_mlp
from hoir_ray.networks.native import library as library_module
from hoir_ray.networks.native.library import library, load
from hoir_ray.networks.recorded import self_test
from hoir_ray.networks.recorded.program import Program, Update, build_program

pytestmark = pytest.mark.skipif(library(torch.float32) is None, reason="no C compiler on this machine")
SOURCES = Path(library_module.__file__).parent


def build(**config: object) -> tuple[nn.Module, Program]:
    torch.manual_seed(0)
    network = build_mlp(NetworkConfig.model_validate(config), in_width=2, out_width=3)
    program = build_program(network, (torch.zeros(1, 2),), num_rows=256)
    assert program is not None
    return network, program


def samples(num: int = 500) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(num, 2, generator=generator) * 2 - 1, torch.rand(num, 3, generator=generator)


def train(program: Program, index: Tensor, *, x: Tensor | None = None, target: Tensor | None = None) -> Tensor:
    own = samples()
    update = Update(
        rule="adam",
        beta1=0.9,
        beta2=0.99,
        eps=1e-8,
        steps_done=0,
        rates=[1e-3] * len(index),
        moments=[(torch.zeros_like(p), torch.zeros_like(p)) for p in program.parameters],
    )
    inputs = program.inputs((own[0] if x is None else x,))
    return program.train(inputs, own[1] if target is None else target, index, update=update)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("batch", [1, 64, 200, 500])
def test_threads_give_the_same_numbers_each_time(batch: int) -> None:
    index = torch.randint(0, 500, (20, batch), generator=torch.Generator().manual_seed(1))
    found = []
    for num_threads in (1, 3, 3, 40):
        torch.set_num_threads(num_threads)
        network, program = build(segments=3, normalization="layer_norm")
        losses = train(program, index)
        found.append((losses, program.predict(program.inputs((samples()[0],))), *network.parameters()))
    for one, other in zip(found[1], found[2], strict=True):
        assert torch.equal(one, other)
    for others in (found[1], found[3]):
        for one, other in zip(found[0], others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("num_rows", [1, 63, 64, 65, 500])
@pytest.mark.parametrize("layer_type", ["continuous", "switch_discontinuous", "fourier", "relu", "product"])
def test_outputs_are_the_networks(layer_type: str, num_rows: int) -> None:
    network, program = build(layer_type=layer_type, normalization="l2")
    x = samples()[0][:num_rows]
    torch.testing.assert_close(program.predict(program.inputs((x,))), network(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", [1, 4096])
def test_widths_at_the_ends(width: int) -> None:
    network, program = build(hidden={"width": width, "num_layers": 0})
    before = [p.detach().clone() for p in network.parameters()]
    losses = train(program, torch.arange(20).view(2, 10))
    assert losses.isfinite().all()
    assert not any(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@pytest.mark.usefixtures("threads")
def test_memory_does_not_grow_with_the_batch() -> None:
    torch.set_num_threads(1)
    _, program = build()
    inputs = program.inputs((samples()[0],))
    small, large = (program.training_bytes(inputs, num_rows=n) for n in (64, 2**24))
    assert small == large < 2**20


def test_a_number_out_of_range_is_refused_and_nothing_is_trained() -> None:
    network, program = build()
    before = [p.detach().clone() for p in network.parameters()]
    for number in (500, -1):
        index = torch.arange(40).view(4, 10).clone()
        index[2, 3] = number
        with pytest.raises(IndexError, match="from 0 to 499"):
            train(program, index)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_arrays_of_other_shapes_are_refused() -> None:
    _, program = build()
    x, target = samples()
    index = torch.arange(10)[None]
    with pytest.raises(ValueError, match=r"inputs must be torch\.float32 of 2 numbers, got torch\.float32 \[500, 1\]"):
        train(program, index, x=x[:, :1])
    with pytest.raises(ValueError, match=r"inputs must be torch\.float32"):
        train(program, index, x=x.double())
    with pytest.raises(ValueError, match=r"targets must be torch\.float32 of 3 numbers"):
        train(program, index, target=target[:, :2])
    with pytest.raises(ValueError, match="targets must be"):
        train(program, index, target=target[:499])


def test_weights_given_anew_are_the_ones_used() -> None:
    network, program = build()
    x = samples()[0]
    torch.manual_seed(7)
    other = build_mlp(NetworkConfig(), in_width=2, out_width=3)
    network.load_state_dict(other.state_dict())
    torch.testing.assert_close(program.predict(program.inputs((x,))), other(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("change", ["frozen", "tied", "hooked"])
def test_networks_that_a_tape_would_get_wrong_are_left_to_torch(change: str) -> None:
    network, _ = build()
    assert isinstance(network.layers, nn.Sequential)
    if change == "frozen":
        network.layers[0].weight.requires_grad_(False)
    elif change == "tied":
        network.layers.append(network.layers[2])
    else:
        network.layers[0].register_forward_hook(lambda module, given, output: output * 2)
    assert build_program(network, (torch.zeros(1, 2),), num_rows=256) is None


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("basis.h", "values[j * CHUNK + r] = l[r] * q[r] * f;", "values[j * CHUNK + r] = l[r] * q[r];"),
        ("basis.h", "q[m + 1] = q[m] * b;", "q[m + 1] = q[m] * a;"),
        ("narrow.h", "total[o][t] += table[m * NO + o]", "total[o][t] -= table[m * NO + o]"),
        ("normalization.h", "grad_x[first] -= sign", "grad_x[first] += sign"),
        ("optimizers.h", "v[i] = square", "v[i] = moment"),
        ("steps.h", "w->loss += ", "w->loss = "),
    ],
)
def test_kernels_that_are_wrong_are_found(file: str, right: str, wrong: str, tmp_path: Path) -> None:
    copied = shutil.copytree(SOURCES, tmp_path / "native", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    source = (copied / file).read_text()
    assert right in source
    (copied / file).write_text(source.replace(right, wrong))
    broken = load(torch.float32, source=copied / "kernels.c")
    assert broken is not None
    found = self_test.disagreement(broken, torch.float32)
    assert found is not None
    assert "off by" in found


@pytest.mark.parametrize("vector_bytes", [32, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_right_kernels_are_far_from_being_refused(dtype: torch.dtype, vector_bytes: int) -> None:
    kernels = load(dtype, defines=(f"VECTOR_BYTES={vector_bytes}",))
    assert kernels is not None
    with patch.dict(self_test.TOLERANCE, {dtype: self_test.TOLERANCE[dtype] / 20}):
        assert self_test.disagreement(kernels, dtype) is None


@pytest.mark.slow
def test_wrong_kernels_are_refused_once_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    copied = shutil.copytree(SOURCES, tmp_path / "native", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    source = copied / "optimizers.h"
    source.write_text(source.read_text().replace("w[i] += rate", "w[i] -= rate"))
    test = ("hoir_ray.networks.recorded.self_test", "float")
    with caplog.at_level(logging.WARNING):
        assert load(torch.float32, source=copied / "kernels.c", test=test) is None
        with patch.object(subprocess, "run", side_effect=AssertionError("compiled or tested again")):
            assert load(torch.float32, source=copied / "kernels.c", test=test) is None
    assert "plain torch" in caplog.text
    assert "compiled code fails its test: losses off by" in caplog.text
    assert [path.suffix for path in (tmp_path / "cache" / "hoir_ray").iterdir()] == [".refused"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_read_or_written_outside_of_arrays(tmp_path: Path) -> None:
    asan = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout
    if not Path(asan.strip()).is_absolute():
        pytest.skip("the compiler has no address sanitizer")
    environment = {
        **os.environ,
        "LD_PRELOAD": asan.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "XDG_CACHE_HOME": str(tmp_path),
    }
    ran = subprocess.run(
        [sys.executable, "-m", "tests.networks.sanitized"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "runtime error" not in ran.stderr
    assert ran.stdout.split()[-1] == "done"
