"""A training step of each network against upstream's, interleaved, beside what the machine could do at most.

Networks are those of upstream's README for its newt (4 inputs, 40 units, one hidden layer, 3 outputs) and two that draw
a picture in few bytes (6 inputs, three hidden layers). A step is forward, backward and Adam, on one thread, in that
thread's CPU time, which other work on the machine lengthens least: one by one in torch, and many in one compiled call,
as training runs them, there with the gathering of the batch.
The floor is the step's multiply-adds at the measured rate of a matrix product, or its traffic at the measured rate of a
copy, whichever takes longer.
"""

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from hoir_ray.networks import NetworkConfig, build_mlp, num_parameters, resolve
from hoir_ray.networks.native import links as native
from hoir_ray.networks.recorded.program import Update, build_program
from hoir_ray.networks.upstream import to_upstream

OUT_WIDTH = 3
NETWORKS: dict[str, dict[str, Any]] = {
    "continuous": {"layer_type": "continuous", "input": {"segments": 100}},
    "discontinuous": {"layer_type": "discontinuous", "input": {"segments": 100}},
    "polynomial": {"layer_type": "polynomial", "input": {"num_nodes": 31}},
    "fourier": {"layer_type": "fourier", "input": {"num_nodes": 31}},
    "continuous_prod": {"layer_type": "continuous_prod", "input": {"segments": 100}},
    "compress_12": {"input": {"segments": 35}, "hidden": {"width": 12, "num_layers": 3}},
    "compress_20": {"input": {"segments": 81}, "hidden": {"width": 20, "num_layers": 3}},
}
IN_WIDTHS = {name: 6 if name.startswith("compress") else 4 for name in NETWORKS}
CALL_ROWS = 16_384  # of a compiled call
ADAM_TRAFFIC = 7  # reads of weight, gradient and two moments, writes of all but the gradient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 1024, 4096, 65536])
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--quick", action="store_true", help="batches 256 and 4096, fewer repetitions")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    batches = [batch for batch in args.batches if batch <= 4096] if args.quick else args.batches
    matmul_rate, copy_rate = measure_matmul_rate(args.device), measure_copy_rate(args.device)
    rates = f"{matmul_rate / 1e9:.0f} GFLOP/s, {copy_rate / 1e9:.0f} GB/s"
    print(f"torch {torch.__version__} on {args.device}, one thread: {rates}\n")
    print(
        "| network | batch | upstream, ms | one by one, ms | in one call, ms | ratio to upstream | to one by one "
        "| plain torch to upstream | floor, ms | extra memory, MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in args.networks:
        config = NetworkConfig.model_validate(NETWORKS[name])
        for batch in batches:
            flops, traffic = count_work(config, batch, in_width=IN_WIDTHS[name])
            floor_s = max(flops / matmul_rate, traffic / copy_rate)
            print(compare(name, config, batch=batch, floor_s=floor_s, device=args.device, quick=args.quick), flush=True)


def compare(name: str, config: NetworkConfig, *, batch: int, floor_s: float, device: str, quick: bool) -> str:
    """One row of the table; upstream keeps CPU tensors inside its layers, so on CUDA only ours runs."""
    in_width = IN_WIDTHS[name]
    torch.manual_seed(0)
    network = build_mlp(config, in_width=in_width, out_width=OUT_WIDTH)
    steps = {"ours": build_step(network.to(device), batch=batch, in_width=in_width, device=device)}
    num_steps = max(1, CALL_ROWS // batch)
    if device == "cpu":
        steps["upstream"] = build_step(to_upstream(network), batch=batch, in_width=in_width, device=device)
        steps["plain"] = plain_torch(build_step(network, batch=batch, in_width=in_width, device=device))
        steps["fused"] = build_fused_steps(network, batch=batch, in_width=in_width, num_steps=num_steps)
    rounds = max(1, min(20, 40_000 // batch) // (2 if quick else 1))
    clock = time.thread_time if device == "cpu" else time.perf_counter
    times = time_interleaved(
        steps, clock=clock, rounds=rounds, repeats={"ours": 5, "plain": 2 if batch < 10_000 else 1}
    )
    memory = {key: measure_extra_memory_mb(step, device) for key, step in steps.items() if key != "plain"}
    ours, upstream, plain = times["ours"], times.get("upstream"), times.get("plain")
    fused = times["fused"] / num_steps if "fused" in times else None
    label = f"{name}, {num_parameters(config, in_width=in_width, out_width=OUT_WIDTH):,}"
    cells = [
        label,
        f"{batch:,}",
        f"{upstream * 1e3:,.1f}" if upstream else "",
        f"{ours * 1e3:,.2f}",
        f"{fused * 1e3:,.3f}" if fused else "",
        f"{upstream / (fused or ours):.1f}x" if upstream else "",
        f"{ours / fused:.2f}x" if fused else "",
        f"{upstream / plain:.1f}x" if upstream and plain else "",
        f"{floor_s * 1e3:,.3f}",
        " → ".join(f"{memory[key]:,.0f}" for key in ("upstream", "ours", "fused") if key in memory),
    ]
    return f"| {' | '.join(cells)} |"


def build_fused_steps(network: nn.Module, *, batch: int, in_width: int, num_steps: int) -> Callable[[], None]:
    """`num_steps` optimizer steps in one call, on batches from four times as many samples."""
    x, y = torch.rand(4 * batch, in_width) * 2 - 1, torch.rand(4 * batch, OUT_WIDTH)
    program = build_program(network, (x,), num_rows=batch)
    assert program is not None, "no C compiler on this machine"
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in program.parameters]
    index = torch.randint(0, 4 * batch, (num_steps, batch))
    steps_done = 0

    def steps() -> None:
        nonlocal steps_done
        update = Update(
            rule="adam",
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            steps_done=steps_done,
            rates=[1e-5] * num_steps,
            moments=moments,
        )
        program.train(program.inputs((x,)), y, index, update=update)
        steps_done += num_steps

    return steps


def build_step(network: nn.Module, *, batch: int, in_width: int, device: str) -> Callable[[], None]:
    """Forward, backward and Adam on one fixed batch."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(batch, in_width, generator=generator) * 2 - 1).to(device)
    y = torch.rand(batch, OUT_WIDTH, generator=generator).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss: Tensor = nn.functional.mse_loss(network(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def plain_torch(step: Callable[[], None]) -> Callable[[], None]:
    """The same step where there is no compiler."""

    def without_native() -> None:
        with patch.object(native, "takes", lambda *_: False):
            step()

    return without_native


def time_interleaved(
    steps: dict[str, Callable[[], None]], *, clock: Callable[[], float], rounds: int, repeats: dict[str, int]
) -> dict[str, float]:
    """Median seconds a step; all take turns, so that a slow moment of the machine slows all of them."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for name, step in steps.items():
        for _ in range(repeats.get(name, 1)):
            step()
    for _ in range(rounds):
        for name, step in steps.items():
            for _ in range(repeats.get(name, 1)):
                start = clock()
                step()
                times[name].append(clock() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def measure_extra_memory_mb(step: Callable[[], None], device: str) -> float:
    """The step's peak above what was held before it: resident memory on Linux, allocated memory on CUDA."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before_kb = read_status_kb("VmRSS")
    step()
    return (read_status_kb("VmHWM") - before_kb) / 1e3


def read_status_kb(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def count_work(config: NetworkConfig, batch: int, *, in_width: int) -> tuple[float, float]:
    """Floating-point operations and bytes that a step cannot do without.

    A link costs its basis functions' multiply-adds forward, as many for its weights' gradient and as many for its
    input's, which the first layer need not have. Each layer's inputs and outputs pass once forward and once backward.
    """
    width = config.hidden.width
    widths = [in_width, *[width] * (config.hidden.num_layers + 1), OUT_WIDTH]
    first, hidden, last = resolve(config)
    layers = [first, *[hidden] * config.hidden.num_layers, last]
    flops = traffic = 0.0
    for index, layer in enumerate(layers):
        passes = 2 if index == 0 else 3
        flops += 2 * passes * batch * widths[index] * widths[index + 1] * layer.num_nodes
        traffic += 2 * 4 * batch * (widths[index] + widths[index + 1])
    traffic += 4 * ADAM_TRAFFIC * num_parameters(config, in_width=in_width, out_width=OUT_WIDTH)
    return flops, traffic


def measure_matmul_rate(device: str, *, side: int = 1024) -> float:
    """Floating-point operations a second of a square float32 product."""
    a = torch.rand(side, side, device=device)
    return 2 * side**3 / fastest(lambda: torch.mm(a, a), device)


def measure_copy_rate(device: str, *, num_floats: int = 2**25) -> float:
    """Bytes a second, read and written, of a copy too large for the caches."""
    a, b = torch.rand(num_floats, device=device), torch.empty(num_floats, device=device)
    return 8 * num_floats / fastest(lambda: b.copy_(a), device)


def clock_of(device: str) -> Callable[[], float]:
    return time.thread_time if device == "cpu" else time.perf_counter


def fastest(function: Callable[[], object], device: str) -> float:
    clock = clock_of(device)
    times = []
    for _ in range(8):
        start = clock()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return min(times)


if __name__ == "__main__":
    main()
