"""Runs every layer, normalization and optimizer at odd sizes with kernels that watch their own memory.

A program of its own, since the sanitizer must be loaded before everything else: see test_program.py.
"""

from __future__ import annotations

import itertools
from typing import get_args
from unittest.mock import patch

import torch

from hoir_ray.machine import compiler
from hoir_ray.networks import NetworkConfig, build_mlp
from hoir_ray.networks.config import LayerType, Normalization
from hoir_ray.networks.native.library import load
from hoir_ray.networks.recorded.program import Update, UpdateRule, build_program
from hoir_ray.networks.resolve import WAVES

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g")


def main() -> None:
    with patch.object(compiler, "FLAGS", (*(flag for flag in compiler.FLAGS if flag != "-O3"), "-O1", *SANITIZERS)):
        kernels = load(torch.float32)
    assert kernels is not None
    torch.set_num_threads(3)
    layer_types = [name for name in get_args(LayerType) if name not in WAVES]  # which have no compiled operations
    rules = itertools.cycle(get_args(UpdateRule))
    batches = itertools.cycle((1, 65, 130, 200))
    for layer_type, normalization, width in itertools.product(layer_types, get_args(Normalization), (1, 5, 24)):
        batch = next(batches)
        config = {"layer_type": layer_type, "segments": 3, "hidden": {"width": width}, "normalization": normalization}
        torch.manual_seed(0)
        network = build_mlp(NetworkConfig.model_validate(config), in_width=3, out_width=2)
        x, target = torch.randn(batch, 3), torch.rand(batch, 2)
        x[0, 0], x[0, 1] = float("nan"), float("inf")
        program = build_program(network, (x,), num_rows=batch, kernels=kernels)
        assert program is not None
        update = Update(
            rule=next(rules),
            beta1=0.9,
            beta2=0.99,
            eps=1e-8,
            weight_decay=0.01,
            steps_done=0,
            rates=[1e-3] * 2,
            moments=[(torch.zeros_like(p), torch.zeros_like(p)) for p in program.parameters],
        )
        program.train(program.inputs((x,)), target, torch.arange(batch).repeat(2, 1), update=update)
        program.predict(program.inputs((x,)))
    print("done")  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main()
