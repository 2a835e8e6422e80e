"""Quality of what a network of the sampler `nearest` draws: from noise, and from a tenth of the pixels of pictures."""

from __future__ import annotations

import torch
from torch import nn

from hoir_ray.pictures.colours import from_bytes, shown
from hoir_ray.pictures.quality import patch_distance, psnr_db
from hoir_ray.tasks.random_interpolation.config import RandomInterpolationFacts, RenderOptions
from hoir_ray.tasks.random_interpolation.data import RandomPixels
from hoir_ray.tasks.random_interpolation.render import grow_frames, reconstruct
from hoir_ray.training.data import TaskData

NUM_DRAWN = 8


def measure(network: nn.Module, data: TaskData) -> dict[str, float]:
    """Patch distance of pictures drawn from noise to held-out ones, and PSNR of those from a tenth of their pixels.

    Both are of the first eight at most, so that an epoch is measured in little time. Nothing for other samplers.
    """
    val, facts = data.val, data.facts
    assert isinstance(val, RandomPixels)
    assert isinstance(facts, RandomInterpolationFacts)
    if val.config.sampler != "nearest":
        return {}
    side = val.config.size
    held_out = from_bytes(val.table[:NUM_DRAWN].cpu().view(-1, side, side, 3))
    from_noise = RenderOptions(num_frames=NUM_DRAWN, all_random=True)
    drawn = torch.stack(grow_frames(network, val.config, facts, from_noise, side))
    rebuilt = torch.stack([reconstruct(network, picture, config=val.config) for picture in held_out])
    psnrs = [psnr_db(shown(one), shown(true)) for one, true in zip(rebuilt, held_out, strict=True)]
    return {
        "val_patch_distance": patch_distance(shown(drawn), shown(held_out)),
        "val_reconstruction_psnr_db": sum(psnrs) / len(psnrs),
    }
