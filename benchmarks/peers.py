"""A training step of ours beside what else draws a picture with as many parameters, written in torch, interleaved.

python benchmarks/peers.py [--batches 256 1024 4096]
python benchmarks/peers.py --quick

`siren` has sine activations (Sitzmann et al. 2020) and as many hidden layers as ours. `kan` has cubic B-splines on five
intervals beside a linear link of SiLU, as efficient-kan computes them (all bases at once, then one product). Widths are
those that come nearest to our number of parameters. Forward, backward and Adam, on one thread, in its CPU time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from layers import (  # type: ignore[import-not-found]  # the file beside this one
    CALL_ROWS,
    IN_WIDTHS,
    NETWORKS,
    OUT_WIDTH,
    build_fused_steps,
    build_step,
    time_interleaved,
)
from torch import Tensor, nn
from torch.nn import functional

from hoir_ray.networks import NetworkConfig, build_mlp

NAMES = ("continuous", "compress_12", "compress_20")
GRID, ORDER, OMEGA = 5, 3, 30.0


class Sine(nn.Module):
    """Sine of the input times omega."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(OMEGA * x)


class Splines(nn.Module):
    """A layer of links, each a cubic B-spline on [-1, 1] and a weight of SiLU."""

    knots: Tensor

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        step = 2.0 / GRID
        self.register_buffer("knots", torch.arange(-ORDER, GRID + ORDER + 1) * step - 1.0)
        self.base = nn.Parameter(torch.randn(out_width, in_width) / in_width**0.5)
        self.spline = nn.Parameter(0.1 * torch.randn(out_width, in_width * (GRID + ORDER)) / in_width**0.5)

    def forward(self, x: Tensor) -> Tensor:
        knots, at = self.knots, x.unsqueeze(-1)
        bases = ((at >= knots[:-1]) & (at < knots[1:])).to(x.dtype)
        for k in range(1, ORDER + 1):
            rising = (at - knots[: -k - 1]) / (knots[k:-1] - knots[: -k - 1])
            falling = (knots[k + 1 :] - at) / (knots[k + 1 :] - knots[1:-k])
            bases = rising * bases[..., :-1] + falling * bases[..., 1:]
        return functional.linear(functional.silu(x), self.base) + functional.linear(bases.flatten(1), self.spline)


def siren(in_width: int, width: int, num_hidden: int) -> nn.Module:
    widths = [in_width, *[width] * (num_hidden + 1)]
    layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), Sine())]
    return nn.Sequential(*layers, nn.Linear(width, OUT_WIDTH))


def kan(in_width: int, width: int, num_hidden: int) -> nn.Module:
    widths = [in_width, *[width] * (num_hidden + 1), OUT_WIDTH]
    return nn.Sequential(*(Splines(a, b) for a, b in pairwise(widths)))


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def nearest_to(wanted: int, build: Callable[[int, int, int], nn.Module], *, in_width: int, depth: int) -> nn.Module:
    """The network of the width whose number of parameters is nearest to `wanted`."""
    networks = (build(in_width, width, depth) for width in range(2, 257))
    return min(networks, key=lambda network: abs(count(network) - wanted))


def rows(name: str, *, batches: Sequence[int], rounds: int) -> None:
    config, in_width = NetworkConfig.model_validate(NETWORKS[name]), IN_WIDTHS[name]
    torch.manual_seed(0)
    ours = build_mlp(config, in_width=in_width, out_width=OUT_WIDTH)
    peers = {
        kind: nearest_to(count(ours), build, in_width=in_width, depth=config.hidden.num_layers)
        for kind, build in (("siren", siren), ("kan", kan))
    }
    for batch in batches:
        num_steps = max(1, CALL_ROWS // batch)
        steps = {"ours": build_fused_steps(ours, batch=batch, in_width=in_width, num_steps=num_steps)}
        for kind, network in peers.items():
            steps[kind] = build_step(network, batch=batch, in_width=in_width, device="cpu")
        times = time_interleaved(steps, clock=time.thread_time, rounds=rounds, repeats={"siren": 5, "kan": 2})
        times["ours"] /= num_steps
        cells = [f"{name}, {count(ours):,}", f"{batch:,}", f"{times['ours'] * 1e3:.3f}"]
        for kind, network in peers.items():
            ratio = times[kind] / times["ours"]
            cells += [f"{times[kind] * 1e3:.2f} ({count(network):,})", f"{ratio:.1f}x"]
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--quick", action="store_true", help="batch 256, fewer repetitions")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| ours, parameters | batch | ours, ms | siren, ms (parameters) | to ours | kan, ms (parameters) | to ours |")
    print("|---|---|---|---|---|---|---|")
    for name in NAMES:
        batches = [256] if arguments.quick else arguments.batches
        rows(name, batches=batches, rounds=3 if arguments.quick else 12)


if __name__ == "__main__":
    main()
