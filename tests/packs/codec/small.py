"""Small packs of every task, whose weights are drawn from a seed."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import torch

from hoir_ray.packs.pack import Pack
from hoir_ray.tasks import load_task

FACTS: dict[str, dict[str, Any]] = {
    "image": {"height": 6, "width": 8, "num_pixels": 48},
    "neighborhood": {"num_train_positions": 4, "num_held_out_positions": 1},
    "random_interpolation": {"num_train_pictures": 3, "num_val_pictures": 1, "num_test_pictures": 1},
    "text_to_image": {"captions": ("a cat", "zwei Häuser"), "sizes": ("8x6", "4x4")},
}
ARRAYS = {"random_interpolation": {"layout_f32_base64": 2 * 48}, "text_to_image": {"embeddings_f32_base64": 2 * 5}}
SETTINGS: dict[str, dict[str, Any]] = {
    "image": {},
    "neighborhood": {"width": 1, "outside": 1},
    "random_interpolation": {"num_feature_pixels": 2},
    "text_to_image": {"embedding_size": 5, "text_model": "hashing"},
}


def small_pack(task_name: str = "image", *, seed: int = 0, **network: Any) -> Pack:
    """A pack with fresh weights: `network` is the config's part of that name, three units wide unless it says so."""
    task = load_task(task_name)
    config = task.config.model_validate(
        {"network": {"hidden": {"width": 3}, **network}, "data": SETTINGS[task_name], "training": {"seed": seed}}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = task.network(config)
    facts = dict(FACTS[task_name])
    for name, count in ARRAYS.get(task_name, {}).items():
        facts[name] = base64.b64encode(torch.linspace(-1, 1, count).numpy().astype("<f4").tobytes()).decode()
    checked = task.facts.model_validate(facts)
    return Pack(task=task, config=config, network=built.eval(), facts=checked, metrics={}, folder=Path("pack"))


def codes_of(pack: Pack, code: int = -20) -> dict[str, int]:
    """One step for all tensors, a thirty-second at the code given."""
    return dict.fromkeys(pack.network.state_dict(), code)
