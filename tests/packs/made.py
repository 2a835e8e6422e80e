"""Model packs of random weights, made without training."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import torch

from hoir_ray.packs.load import load
from hoir_ray.packs.pack import Pack, write_pack
from hoir_ray.tasks import load_task
from hoir_ray.tasks.image.config import ImageFacts
from hoir_ray.tasks.text_to_image.config import TextToImageFacts

HEIGHT, WIDTH = 30, 41


def made_pack(folder: Path, network: dict[str, Any], *, rotations: int = 2, name: str = "image") -> Pack:
    """A pack with random weights, large enough that its picture is not of one colour."""
    task = load_task(name)
    data: dict[str, Any] = {"num_rotations": rotations}
    if name == "text_to_image":
        data |= {"text_model": "hashing", "embedding_size": 6}
        vectors = torch.randn(2, 6, generator=torch.Generator().manual_seed(1)).numpy().astype("<f4")
        facts: Any = TextToImageFacts(
            captions=("<b>a cat</b>", "a dog"),
            sizes=("41x30", "20x30"),
            embeddings_f32_base64=base64.b64encode(vectors.tobytes()).decode(),
        )
    else:
        facts = ImageFacts(height=HEIGHT, width=WIDTH, num_pixels=HEIGHT * WIDTH)
    config = task.config.model_validate({"network": {"hidden": {"width": 10}, **network}, "data": data})
    torch.manual_seed(0)
    trained = task.network(config)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.randn_like(parameter) / 4)
    write_pack(
        folder,
        task=task,
        config=config,
        facts=facts,
        state=trained.state_dict(),
        metrics={"val_loss": 0.5},
        preview=torch.zeros(8, 8, 3),
    )
    return load(folder)
