"""Pictures drawn from captions, those of the dictionary or any other."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hoir_ray.errors import RequestError
from hoir_ray.pictures.colours import shown
from hoir_ray.pictures.coordinates import extent_of
from hoir_ray.pictures.region import WHOLE, Region, parse_region, size_of_region
from hoir_ray.pictures.save import contact_sheet
from hoir_ray.pictures.strips import check_drawn_size, draw_in_strips
from hoir_ray.tasks.text_to_image.config import RenderOptions, TextToImageConfig, TextToImageData, TextToImageFacts
from hoir_ray.tasks.text_to_image.data import Pixels, dictionary_of
from hoir_ray.tasks.text_to_image.embedding import embed
from hoir_ray.training.data import TaskData
from hoir_ray.training.predict import device_and_dtype
from hoir_ray.wording import quoted

MAX_PREVIEWED = 12
PREVIEW_SIDE = 96
NUM_NEAREST = 3
MIN_ANGLE = 1e-4  # below it a sine in the denominator loses its digits
_log = logging.getLogger(__name__)


def render(
    network: nn.Module, config: TextToImageConfig, facts: TextToImageFacts, options: RenderOptions
) -> Float[Tensor, "frames height width 3"]:
    """Draw one caption, every caption of the dictionary, or the way from one to another; all frames of one size.

    Pictures of the dictionary keep their shapes, in the middle of white frames that hold the largest.

    Raises:
        RequestError: If a caption is not in the dictionary and its embedding cannot be made.
    """
    dictionary = dictionary_of(facts)
    sizes = dict(zip(dictionary, facts.sizes, strict=True))
    captions = [c for c in (options.caption, options.first, options.last) if c is not None]
    if not captions:
        return _draw_all(network, config, dictionary, list(map(_height_and_width, facts.sizes)), size=options.size)
    height, width = _height_and_width(options.size or sizes.get(captions[0], "256x256"))
    region = WHOLE if options.region is None else parse_region(options.region)
    if options.size is None:
        height, width = size_of_region(region, height=height, width=width)
    num_frames = options.num_frames if options.first is not None else 1
    check_drawn_size(height, width, num_frames=num_frames, source="--size" if options.size else "the pack's facts")
    embeddings = [embed_caption(caption, config=config.data, dictionary=dictionary) for caption in captions]
    extents = [extent_of(*_height_and_width(sizes.get(caption, f"{width}x{height}"))) for caption in captions]
    if options.first is not None:
        embeddings = path_between(*embeddings, num=options.num_frames)
        (right, bottom), (last_right, last_bottom) = extents
        steps = torch.linspace(0, 1, options.num_frames).tolist()
        extents = [(right + t * (last_right - right), bottom + t * (last_bottom - bottom)) for t in steps]
    return torch.stack(
        [
            draw(
                network,
                e,
                height=height,
                width=width,
                num_rotations=config.data.num_rotations,
                extent=extent,
                region=region,
            )
            for e, extent in zip(embeddings, extents, strict=True)
        ]
    )


def _draw_all(
    network: nn.Module,
    config: TextToImageConfig,
    dictionary: Mapping[str, Float[Tensor, " embedding"]],
    sizes: Sequence[tuple[int, int]],
    *,
    size: str | None,
) -> Float[Tensor, "captions height width 3"]:
    height, width = _height_and_width(size) if size else (max(h for h, _ in sizes), max(w for _, w in sizes))
    check_drawn_size(height, width, num_frames=len(sizes), source="--size" if size else "the pack's facts")
    frames = torch.ones(len(sizes), height, width, 3)
    for frame, embedding, (own_height, own_width) in zip(frames, dictionary.values(), sizes, strict=True):
        scale = min(height / own_height, width / own_width) if size else 1.0
        drawn = draw(
            network,
            embedding,
            height=max(2, round(own_height * scale)),
            width=max(2, round(own_width * scale)),
            num_rotations=config.data.num_rotations,
        )
        _lay_in_the_middle(drawn, frame)
    return frames


def _lay_in_the_middle(picture: Tensor, frame: Tensor) -> None:
    top, left = ((frame.shape[axis] - picture.shape[axis]) // 2 for axis in (0, 1))
    frame[top : top + picture.shape[0], left : left + picture.shape[1]] = picture


def _height_and_width(size: str) -> tuple[int, int]:
    width, height = map(int, size.split("x"))
    return height, width


def path_between(
    first: Float[Tensor, " embedding"], last: Float[Tensor, " embedding"], *, num: int
) -> list[Float[Tensor, " embedding"]]:
    """Embeddings at equal angles from one to the other, both included; lengths do not count in this task.

    Source: Shoemake 1985, "Animating Rotation with Quaternion Curves" (spherical interpolation).
    """
    a, b = (nn.functional.normalize(v, dim=0) for v in (first, last))
    angle = torch.arccos(torch.dot(a, b).clamp(-1, 1))
    steps = torch.linspace(0, 1, num)
    if angle < MIN_ANGLE or math.pi - angle < MIN_ANGLE:  # the same, or opposite with no shortest way between
        return [torch.lerp(a, b, float(step)) for step in steps]
    return [(torch.sin((1 - step) * angle) * a + torch.sin(step * angle) * b) / torch.sin(angle) for step in steps]


def embed_caption(
    caption: str, *, config: TextToImageData, dictionary: Mapping[str, Float[Tensor, " embedding"]]
) -> Float[Tensor, " embedding"]:
    """Return a caption's embedding; of one that is not in the dictionary, the log says which is the nearest.

    Raises:
        RequestError: If it is not in the dictionary and its embedding cannot be made, naming the nearest by spelling.
    """
    if caption in dictionary:
        return dictionary[caption]
    if config.embedding_column is not None:
        near = difflib.get_close_matches(caption, dictionary, n=1, cutoff=0.0)
        raise RequestError(
            f"caption: {quoted(caption)} is not in the dictionary, whose embeddings came with its data, so only its "
            f"{len(dictionary)} captions can be drawn; the nearest is {quoted(near[0])}"
        )
    embedding = embed([caption], config=config)[0]
    near = sorted(dictionary, key=lambda known: -_cosine(embedding, dictionary[known]))[:NUM_NEAREST]
    shown = ", ".join(f"{quoted(n)} ({_cosine(embedding, dictionary[n]):.2f})" for n in near)
    _log.warning("%s is not in the dictionary; the nearest, by cosine similarity: %s", quoted(caption), shown)
    return embedding


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(nn.functional.cosine_similarity(a, b, dim=0))


def pictures(network: nn.Module, data: TaskData) -> dict[str, Tensor]:
    """`preview`: the first pictures as the network draws them; `comparison`: each to the right of its original."""
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
        pairs.append(contact_sheet(torch.stack([original, fit]), num_columns=2))
    return {"preview": contact_sheet(torch.stack(drawn)), "comparison": contact_sheet(torch.stack(pairs), gap=6)}


@torch.no_grad()
def draw(
    network: nn.Module,
    embedding: Float[Tensor, " embedding"],
    *,
    height: int,
    width: int,
    num_rotations: int,
    extent: tuple[float, float] | None = None,
    region: Region = WHOLE,
) -> Float[Tensor, "height width 3"]:
    """Draw the picture of an embedding, in [0, 1], on the CPU.

    Args:
        extent: Of the caption's picture, where `height` and `width` are not its own.
        region: The part of it to draw.
    """
    device, dtype = device_and_dtype(network)
    dictionary = embedding.unsqueeze(0).to(device, dtype)

    def colours(positions: Tensor) -> Tensor:
        caption = torch.zeros(len(positions), dtype=torch.int64, device=device)
        return shown(network(dictionary, caption, positions.to(device)).float().cpu())

    return draw_in_strips(
        colours, height=height, width=width, num_rotations=num_rotations, extent=extent, region=region, dtype=dtype
    )


def _fit_into_square(picture: Float[Tensor, "height width 3"]) -> Float[Tensor, "side side 3"]:
    height, width, _ = picture.shape
    scale = PREVIEW_SIDE / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    channels_first = picture.permute(2, 0, 1).unsqueeze(0)
    small = nn.functional.interpolate(channels_first, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    square = picture.new_ones(PREVIEW_SIDE, PREVIEW_SIDE, 3)
    _lay_in_the_middle(small.clamp(0, 1), square)
    return square


def views(facts: TextToImageFacts) -> dict[str, tuple[int, int]]:
    """Height and width of each caption's picture."""
    return {caption: _height_and_width(size) for caption, size in zip(facts.captions, facts.sizes, strict=True)}
