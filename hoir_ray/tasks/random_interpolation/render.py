"""Pictures drawn from random pixels of other pictures, or of noise, once or again and again."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hoir_ray.errors import PackError
from hoir_ray.pictures.colours import from_bytes, shown
from hoir_ray.pictures.load import load_square
from hoir_ray.pictures.save import contact_sheet
from hoir_ray.pictures.strips import check_drawn_size
from hoir_ray.tasks.random_interpolation.config import (
    RandomInterpolationConfig,
    RandomInterpolationData,
    RandomInterpolationFacts,
    RenderOptions,
)
from hoir_ray.tasks.random_interpolation.data import RandomPixels
from hoir_ray.tasks.random_interpolation.growth import first_pixels, grow
from hoir_ray.tasks.random_interpolation.hashing import mix, salt_for
from hoir_ray.tasks.random_interpolation.sampling import NeighbourSampler
from hoir_ray.training.data import TaskData

TARGETS_AT_A_TIME = 8192
NUM_PREVIEWED = 4
NOISE = "noise"


def render(
    network: nn.Module, config: RandomInterpolationConfig, facts: RandomInterpolationFacts, options: RenderOptions
) -> Float[Tensor, "frames side side 3"]:
    """Frames that begin with the picture or the noise to start from."""
    side = int(options.size.split("x")[0]) if options.size else config.data.size
    check_drawn_size(side, side, num_frames=options.num_frames, source="--size with --num-frames")
    draw = grow_frames if config.data.sampler == "nearest" else _redrawn
    return shown(torch.stack(draw(network, config.data, facts, options, side)))


def _redrawn(
    network: nn.Module,
    config: RandomInterpolationData,
    facts: RandomInterpolationFacts,
    options: RenderOptions,
    side: int,
) -> list[Tensor]:
    """Frames in which every pixel is drawn again from random others."""
    generator = torch.Generator().manual_seed(options.seed)
    start = _noise(side, generator) if options.input == NOISE else _picture(options.input, side)
    frames = [start]
    for number in range(1, options.num_frames):
        source = frames[-1] if not options.all_random else start
        if options.all_random and options.input == NOISE and number > 1:
            source = _noise(side, generator)
        frames.append(redraw(network, source, config=config, salt=salt_for(options.seed, epoch=number)))
    return frames


def grow_frames(
    network: nn.Module,
    config: RandomInterpolationData,
    facts: RandomInterpolationFacts,
    options: RenderOptions,
    side: int,
) -> list[Tensor]:
    """Frames drawn coarse to fine: one picture's stages, or several pictures; a picture to start from comes first."""
    generator = torch.Generator().manual_seed(options.seed)
    from_noise = options.input == NOISE
    start = None if from_noise else _picture(options.input, side)
    temperature = float(from_noise) if options.temperature is None else options.temperature

    def stages() -> list[Tensor]:
        num = config.num_feature_pixels
        if start is None:
            if facts.layout_f32_base64 is None:
                raise PackError("facts.layout_f32_base64: is needed to draw from noise and was not given; give --input")
            known, colours = first_pixels(facts.layout_f32_base64, side=side, num=num, generator=generator)
        else:
            num = min(side * side, max(num, round(options.known * side * side)))
            known = torch.randperm(side * side, generator=generator)[:num]
            colours = start.view(-1, 3)[known]
        growing = grow(network, known, colours, config=config, side=side, temperature=temperature, generator=generator)
        return list(growing)

    shown = [] if start is None else [start]
    num_drawn = options.num_frames - len(shown)
    if options.all_random:
        return [*shown, *(stages()[-1] for _ in range(num_drawn))]
    if num_drawn <= 1:
        return [*shown, *(stages()[-1:] if num_drawn else [])]
    found = stages()
    return [*shown, *(found[round(n * (len(found) - 1) / (num_drawn - 1))] for n in range(num_drawn))]


def pictures(network: nn.Module, data: TaskData) -> dict[str, Tensor]:
    """`preview`: validation pictures above what is drawn from their pixels; `noise`: pictures drawn from noise."""
    pixels = data.val
    assert isinstance(pixels, RandomPixels)
    assert isinstance(data.facts, RandomInterpolationFacts)
    side = pixels.config.size
    originals = from_bytes(pixels.table[:NUM_PREVIEWED].cpu().view(-1, side, side, 3))
    if pixels.config.sampler == "nearest":
        from_noise = RenderOptions(num_frames=NUM_PREVIEWED, all_random=True)
        frames = grow_frames(network, pixels.config, data.facts, from_noise, side)
        drawn = [reconstruct(network, original, config=pixels.config) for original in originals]
    else:
        frames = _redrawn(network, pixels.config, data.facts, RenderOptions(num_frames=NUM_PREVIEWED), side)
        drawn = [redraw(network, original, config=pixels.config, salt=salt_for(0, epoch=0)) for original in originals]
    return {
        "preview": contact_sheet(shown(torch.cat([originals, torch.stack(drawn)])), num_columns=len(originals)),
        "noise": contact_sheet(shown(torch.stack(frames)), num_columns=NUM_PREVIEWED),
    }


def reconstruct(network: nn.Module, original: Tensor, *, config: RandomInterpolationData) -> Tensor:
    """A picture from a tenth of its pixels."""
    side, generator = len(original), torch.Generator().manual_seed(0)
    known = torch.randperm(side * side, generator=generator)[: max(config.num_feature_pixels, side * side // 10)]
    stages = grow(
        network,
        known,
        original.view(-1, 3)[known],
        config=config,
        side=side,
        temperature=0,
        generator=generator,
    )
    return list(stages)[-1]


def _picture(source: str, side: int) -> Tensor:
    return from_bytes(load_square(source, side=side))


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
