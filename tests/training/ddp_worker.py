"""One of two processes that train the surface together; started by `test_distributed`, prints its last line as JSON."""

import json
import os
import sys
from pathlib import Path

import torch
from lightning.pytorch.strategies import DDPStrategy

from hoir_ray.training.loop import Distributed, Epoch, Hooks, Measured, train
from tests.training.curve import score, surface_config, surface_data, surface_network

if __name__ == "__main__":
    torch.set_num_threads(1)
    world_size, batch_size = int(os.environ["WORLD_SIZE"]), int(sys.argv[1])
    strategy = DDPStrategy(process_group_backend="gloo")
    curve: list[Epoch] = []
    written: list[int] = []
    fit = train(
        surface_network(int(os.environ["RANK"])),
        surface_data(),
        surface_config(batch_size=batch_size, max_epochs=2),
        Measured(score=score),
        Hooks(
            on_epoch=curve.append,
            checkpoint_every_s=1e9,  # at the end alone
            checkpoint=None if sys.argv[2] == "-" else Path(sys.argv[2]),
            on_checkpoint=lambda path, epoch: written.append(epoch),
        ),
        distributed=Distributed(strategy=strategy, accelerator="cpu", devices=world_size),
    )
    sums = {name: float(tensor.double().sum()) for name, tensor in fit.state.items()}
    sys.stdout.write(json.dumps({"losses": [e.metrics["train_loss"] for e in curve], "sums": sums, "written": written}))
