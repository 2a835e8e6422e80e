"""Pictures drawn from random pixels of other pictures, or of noise, once or again and again."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hoir_ray.pictures.load import load_square
from hoir_ray.pictures.save import contact_sheet
from hoir_ray.tasks.random_interpolation.config import RandomInterpolationConfig, RandomInterpolationData, RenderOptions
from hoir_ray.tasks.random_interpolation.data import RandomPixels
from hoir_ray.tasks.random_interpolation.sampling import NeighbourSampler, mix, salt_for
from hoir_ray.training.data import Facts, TaskData

TARGETS_AT_A_TIME = 8192
NUM_PREVIEWED = 4


def render(
    network: nn.Module, config: RandomInterpolationConfig, facts: Facts, options: RenderOptions
) -> Float[Tensor, "frames side side 3"]:
    """Frames that begin with the picture or the noise to start from."""
    side = int(options.size.split("x")[0]) if options.size else config.data.size
    generator = torch.Generator().manual_seed(options.seed)
    if options.input == "noise":
        start = _noise(side, generator)
    else:
        start = load_square(options.input, side=side).float() * (2 / 255) - 1
    frames = [start]
    for number in range(1, options.num_frames):
        source = frames[-1] if not options.all_random else start
        if options.all_random and options.input == "noise" and number > 1:
            source = _noise(side, generator)
        frames.append(redraw(network, source, config=config.data, salt=salt_for(options.seed, epoch=number)))
    return (torch.stack(frames) + 1) / 2


def pictures(network: nn.Module, data: TaskData) -> dict[str, Tensor]:
    """`preview`: validation pictures above what is drawn from their pixels; `noise`: noise, drawn again and again."""
    pixels = data.val
    assert isinstance(pixels, RandomPixels)
    side = pixels.config.size
    originals = pixels.table[:NUM_PREVIEWED].cpu().view(-1, side, side, 3).float() * (2 / 255) - 1
    drawn = [redraw(network, original, config=pixels.config, salt=salt_for(0, epoch=0)) for original in originals]
    frames = [_noise(side, torch.Generator().manual_seed(0))]
    for number in range(1, NUM_PREVIEWED):
        frames.append(redraw(network, frames[-1], config=pixels.config, salt=salt_for(0, epoch=number)))
    return {
        "preview": contact_sheet((torch.cat([originals, torch.stack(drawn)]) + 1) / 2, num_columns=len(originals)),
        "noise": contact_sheet((torch.stack(frames) + 1) / 2, num_columns=NUM_PREVIEWED),
    }


def _noise(side: int, generator: torch.Generator) -> Tensor:
    return torch.rand(side, side, 3, generator=generator) * 2 - 1


@torch.no_grad()
def redraw(
    network: nn.Module, frame: Float[Tensor, "side side 3"], *, config: RandomInterpolationData, salt: int
) -> Float[Tensor, "side side 3"]:
    """Redraw every pixel from random others, in [-1, 1], on the CPU."""
    side = len(frame)
    device = next(network.parameters()).device
    sampler = NeighbourSampler(config, side=side).to(device)
    colours = frame.to(device).view(-1, 3)
    drawn = []
    for pixel in torch.split(torch.arange(side * side, dtype=torch.int32, device=device), TARGETS_AT_A_TIME):
        row = pixel.div(side, rounding_mode="floor")
        rows, columns, relative = sampler(row, pixel - row * side, mix(pixel ^ salt))
        seen = colours[(rows * side + columns).long()].flatten(1)
        drawn.append(network(torch.cat([seen, relative], dim=1)).clamp(-1, 1).cpu())
    return torch.cat(drawn).view(side, side, 3)
