"""The network applied over and over: every block of a picture is replaced by what its ring makes of it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hoir_ray.pictures.colours import from_bytes, shown
from hoir_ray.pictures.load import load_picture
from hoir_ray.pictures.save import contact_sheet
from hoir_ray.pictures.strips import check_drawn_size
from hoir_ray.tasks.neighborhood.config import NeighborhoodConfig, NeighborhoodData, NeighborhoodFacts, RenderOptions
from hoir_ray.tasks.neighborhood.data import Patches, run_offsets
from hoir_ray.training.data import TaskData

BLOCKS_AT_A_TIME = 16_384
PREVIEW_SIDE = 96


def render(
    network: nn.Module, config: NeighborhoodConfig, facts: NeighborhoodFacts, options: RenderOptions
) -> Float[Tensor, "frames height width 3"]:
    """Frames of the picture, or of noise, as the network is applied to it again and again; any size of picture."""
    generator = torch.Generator().manual_seed(options.seed)
    if options.input == "noise":
        width, height = map(int, options.size.split("x"))
        check_drawn_size(height, width, num_frames=options.num_frames, source="--size with --num-frames")
        start = torch.rand(height, width, 3, generator=generator) * 2 - 1
    else:
        start = from_bytes(load_picture(options.input, max_side=options.max_side))
        height, width, _ = start.shape
        check_drawn_size(height, width, num_frames=options.num_frames, source=f"{options.input} with --num-frames")
    return evolve(
        network,
        start,
        config=config.data,
        num_frames=options.num_frames,
        steps_per_frame=options.steps_per_frame,
        alpha=options.alpha,
        updated=options.updated,
        generator=generator,
    )


def pictures(network: nn.Module, data: TaskData) -> dict[str, Tensor]:
    """`preview`: part of the picture, each block redrawn once, and redrawn often; `noise`: noise, redrawn often."""
    patches = data.train
    assert isinstance(patches, Patches)
    crop = patches.first_picture[:PREVIEW_SIDE, :PREVIEW_SIDE]
    start = from_bytes(crop.cpu())
    once = evolve(network, start, config=patches.config, num_frames=2, alpha=0.0)
    often = evolve(network, start, config=patches.config, num_frames=2, steps_per_frame=8)
    noise = torch.rand(start.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    grown = evolve(network, noise, config=patches.config, num_frames=4, steps_per_frame=4)
    return {
        "preview": contact_sheet(torch.cat([once, often[1:]]), num_columns=3),
        "noise": contact_sheet(grown, num_columns=4),
    }


def evolve(
    network: nn.Module,
    start: Float[Tensor, "height width 3"],
    *,
    config: NeighborhoodData,
    num_frames: int,
    steps_per_frame: int = 1,
    alpha: float = 0.75,
    updated: float = 1.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "frames height width 3"]:
    """The start, in [-1, 1], and what repeated application makes of it; frames in [0, 1] on the CPU.

    Args:
        updated: Part of the pixels that each application changes, drawn by `generator`.

    Source: stochastic cell update, Mordvintsev et al. 2020, "Growing Neural Cellular Automata".
    """
    device = next(network.parameters()).device
    frame = start.to(device)
    frames = [frame]
    for _ in range(num_frames - 1):
        for _ in range(steps_per_frame):
            drawn = (alpha * frame + (1 - alpha) * redraw(network, frame, config=config)).clamp(-1, 1)
            if updated < 1:
                chosen = torch.rand(*frame.shape[:2], 1, generator=generator) < updated
                drawn = torch.where(chosen.to(device), drawn, frame)
            frame = drawn
        frames.append(frame)
    return torch.stack([shown(frame.cpu()) for frame in frames])


@torch.no_grad()
def redraw(
    network: nn.Module, frame: Float[Tensor, "height width 3"], *, config: NeighborhoodData
) -> Float[Tensor, "height width 3"]:
    """Redraw every block of the frame from its ring; the frame is mirrored at its borders.

    The blocks tile the plane so that whole patches do, from `outside` pixels above and left of the frame's corner.
    """
    height, width, _ = frame.shape
    rows = _first_rows(height, config=config, device=frame.device)
    columns = _first_rows(width, config=config, device=frame.device)
    ring = [offset.to(frame.device) for offset in run_offsets(config, run=1, ring=True)]
    per_chunk = max(1, BLOCKS_AT_A_TIME // len(columns))
    strips = []
    for chunk in torch.split(rows, per_chunk):
        row = mirror(chunk.view(-1, 1, 1) - config.outside + ring[0], length=height)
        column = mirror(columns.view(1, -1, 1) - config.outside + ring[1], length=width)
        blocks = network(frame[row, column].flatten(0, 1).flatten(1)).view(
            len(chunk), len(columns), *[config.width] * 2, 3
        )
        strips.append(blocks.transpose(1, 2).reshape(len(chunk) * config.width, len(columns) * config.width, 3))
    top, left = -int(rows[0]), -int(columns[0])
    return torch.cat(strips)[top : top + height, left : left + width]


def _first_rows(length: int, *, config: NeighborhoodData, device: torch.device) -> Tensor:
    return torch.arange(-(config.outside % config.width), length, config.width, device=device)


def mirror(index: Tensor, *, length: int) -> Tensor:
    """Indices beyond either end folded back into [0, length), the end itself not repeated, however far they lie."""
    if length == 1:
        return torch.zeros_like(index)
    folded = index.remainder(2 * (length - 1))
    return torch.minimum(folded, 2 * (length - 1) - folded)
