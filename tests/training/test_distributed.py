from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hoir_ray.training.loop import Epoch, Hooks, Measured, train
from tests.training.curve import score, surface_config, surface_data, surface_network

ROOT = Path(__file__).parents[2]


def run_together(num_workers: int, *, batch_size: int, checkpoint: str = "-") -> list[dict[str, Any]]:
    """Run the workers together and return their output."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(num_workers),
        "NODE_RANK": "0",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "tests.training.ddp_worker", str(batch_size), checkpoint]
    workers = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(num_workers)
    ]
    printed = [worker.communicate(timeout=240)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * num_workers
    return [json.loads(text.splitlines()[-1]) for text in printed]


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [64, 49])
def test_two_workers_train_as_one_does(batch_size: int, tmp_path: Path) -> None:
    """Workers start from different weights, of which the first one's count, and share each global batch."""
    curve: list[Epoch] = []
    alone = train(
        surface_network(0),
        surface_data(),
        surface_config(batch_size=batch_size, max_epochs=2),
        Measured(score=score),
        Hooks(on_epoch=curve.append),
    )
    first, second = run_together(2, batch_size=batch_size, checkpoint=str(tmp_path / "last.ckpt"))
    assert first["losses"] == second["losses"]
    assert first["sums"] == second["sums"]
    assert first["losses"] == pytest.approx([e.metrics["train_loss"] for e in curve], rel=1e-4)
    for name, tensor in alone.state.items():
        assert first["sums"][name] == pytest.approx(float(tensor.double().sum()), rel=1e-3, abs=1e-3)
    assert (first["written"], second["written"]) == ([2], [])
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
