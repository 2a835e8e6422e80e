"""Pictures drawn from captions, those of the dictionary or any other."""

from __future__ import annotations

import difflib

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hoir_ray.errors import RequestError
from hoir_ray.pictures.coordinates import pixel_positions
from hoir_ray.pictures.save import contact_sheet
from hoir_ray.tasks.text_to_image.config import RenderOptions, TextToImageConfig, TextToImageData
from hoir_ray.tasks.text_to_image.data import Pixels, dictionary_of
from hoir_ray.tasks.text_to_image.embedding import embed
from hoir_ray.training.data import Facts, TaskData

PIXELS_AT_A_TIME = 16_384
MAX_PREVIEWED = 12
PREVIEW_SIDE = 96


def render(
    network: nn.Module, config: TextToImageConfig, facts: Facts, options: RenderOptions
) -> Float[Tensor, "frames height width 3"]:
    """One frame for the caption asked for, or one for each caption of the dictionary, all of one size.

    Raises:
        RequestError: If the caption is not in the dictionary and its embedding cannot be made.
    """
    dictionary = dictionary_of(facts)
    sizes = dict(zip(dictionary, facts["sizes"], strict=True))  # type: ignore[arg-type]
    captions = list(dictionary) if options.caption is None else [options.caption]
    width, height = map(int, (options.size or sizes.get(captions[0], "256x256")).split("x"))
    if min(width, height) < 2:
        raise RequestError(f"size: both sides must be at least 2 pixels, got {width}x{height}")
    frames = []
    for caption in captions:
        embedding = dictionary.get(caption)
        if embedding is None:
            embedding = embed_new(caption, config=config.data, known=list(dictionary))
        frames.append(draw(network, embedding, height=height, width=width, num_rotations=config.data.num_rotations))
    return torch.stack(frames)


def embed_new(caption: str, *, config: TextToImageData, known: list[str]) -> Float[Tensor, " embedding"]:
    """The embedding of a caption that is not in the dictionary."""
    if config.embedding_column is not None:
        near = difflib.get_close_matches(caption, known, n=1, cutoff=0.0)
        raise RequestError(
            f"caption: the dictionary's embeddings came with its data, so only its {len(known)} captions can be drawn; "
            f"the nearest is '{near[0]}'"
        )
    return embed([caption], config=config)[0]


def pictures(network: nn.Module, data: TaskData) -> dict[str, Tensor]:
    """`preview`: the first pictures as the network draws them; `comparison`: each beside its original."""
    pixels = data.train
    assert isinstance(pixels, Pixels)
    drawn, pairs = [], []
    for number, (height, width) in list(enumerate(pixels.album.sizes))[:MAX_PREVIEWED]:
        fit = draw(
            network,
            pixels.album.dictionary[number],
            height=height,
            width=width,
            num_rotations=pixels.axes.shape[2] // 2,
        )
        first = sum(h * w for h, w in pixels.album.sizes[:number])
        original = pixels.album.colours[first : first + height * width].view(height, width, 3).float() / 255
        fit, original = _fit_into_square(fit), _fit_into_square(original)
        drawn.append(fit)
        pairs.append(contact_sheet(torch.stack([fit, original])))
    return {"preview": contact_sheet(torch.stack(drawn)), "comparison": contact_sheet(torch.stack(pairs), gap=6)}


@torch.no_grad()
def draw(
    network: nn.Module, embedding: Float[Tensor, " embedding"], *, height: int, width: int, num_rotations: int
) -> Float[Tensor, "height width 3"]:
    """Draw the picture of an embedding, in [0, 1], on the CPU."""
    device = next(network.parameters()).device
    dictionary = embedding.unsqueeze(0).to(device)
    positions = pixel_positions(height, width, num_rotations=num_rotations)
    drawn = [
        network(dictionary, torch.zeros(len(position), dtype=torch.int64, device=device), position.to(device)).cpu()
        for position in torch.split(positions, PIXELS_AT_A_TIME)
    ]
    return ((torch.cat(drawn).view(height, width, 3) + 1) / 2).clamp(0, 1)


def _fit_into_square(picture: Float[Tensor, "height width 3"]) -> Float[Tensor, "side side 3"]:
    height, width, _ = picture.shape
    scale = PREVIEW_SIDE / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    channels_first = picture.permute(2, 0, 1).unsqueeze(0)
    small = nn.functional.interpolate(channels_first, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    square = picture.new_ones(PREVIEW_SIDE, PREVIEW_SIDE, 3)
    top, left = (PREVIEW_SIDE - size[0]) // 2, (PREVIEW_SIDE - size[1]) // 2
    square[top : top + size[0], left : left + size[1]] = small.clamp(0, 1)
    return square
