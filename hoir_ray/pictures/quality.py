"""Quality of a picture against another, and cost of a network; each with its unit in its name."""

from __future__ import annotations

import ctypes
import functools
import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from hoir_ray.machine import compiler

_LOWEST_MSE = 1e-12  # of exact equality; 120 dB, so that a perfect fit is a number and not infinity
_SSIM_WINDOW, _SSIM_SIGMA = 11, 1.5
_SSIM_ROWS, _SSIM_TILE = 256, 64


def mse(prediction: Tensor, target: Tensor) -> float:
    """Mean squared error, summed in float64: a picture has more pixels than float32 has digits."""
    return float((prediction - target).square_().mean(dtype=torch.float64))


def psnr_db(prediction: Tensor, target: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels, for values in [0, 1]; at most 120."""
    return psnr_db_of_mse(mse(prediction, target))


def psnr_db_of_mse(value: float) -> float:
    """Peak signal-to-noise ratio in decibels of a mean squared error on [0, 1]; NaN stays NaN."""
    return value if math.isnan(value) else -10 * math.log10(max(value, _LOWEST_MSE))


def bits_per_pixel(num_parameters: int, *, num_pixels: int, bits_per_parameter: int = 32) -> float:
    """Size of the weights per pixel; 32 bits a weight, as a model pack holds them, unless said otherwise.

    A network's one file needs a sixth of that: its size is `stored_bits_per_pixel`.
    """
    return num_parameters * bits_per_parameter / num_pixels


def ssim(prediction: Float[Tensor, "height width channels"], target: Float[Tensor, "height width channels"]) -> float:
    """Structural similarity of two pictures in [0, 1], the mean over channels and over windows inside the picture.

    Windows are Gaussian, 11 pixels wide with sigma 1.5, narrower where the picture is. Rows are taken a band at a
    time, so memory does not grow with the picture's height.

    Source: Wang et al. 2004, "Image Quality Assessment", equation 13; the same numbers as scikit-image's
    `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1)`.

    Raises:
        ValueError: If the pictures differ in shape.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"pictures must have one shape, got {list(prediction.shape)} and {list(target.shape)}")
    height, width, num_channels = target.shape
    size = min(_SSIM_WINDOW, height - (height + 1) % 2, width - (width + 1) % 2)
    offsets = torch.arange(size, dtype=torch.float32, device=target.device) - size // 2
    window = torch.exp(-0.5 * (offsets / _SSIM_SIGMA) ** 2)
    window /= window.sum()
    compiled = _ssim_library() if prediction.device.type == "cpu" and prediction.dtype == torch.float32 else None
    total = (
        _sum_in_torch(prediction, target, window)
        if compiled is None
        else _sum_compiled(compiled, prediction, target, window)
    )
    return total / (num_channels * (height - size + 1) * (width - size + 1))


@functools.cache
def _ssim_library() -> ctypes.CDLL | None:
    library = compiler.load(Path(__file__).parent / "ssim.c")
    if library is not None:
        pointer, count = ctypes.c_void_p, ctypes.c_int64
        library.ssim.argtypes = [pointer, pointer, count, count, count, pointer, count, pointer]
        library.ssim.restype = ctypes.c_double
    return library


def _sum_compiled(library: ctypes.CDLL, prediction: Tensor, target: Tensor, window: Tensor) -> float:
    prediction, target = prediction.contiguous(), target.float().contiguous()
    rows = torch.empty(10, target.shape[1] * target.shape[2], dtype=torch.float32)
    pictures = prediction.data_ptr(), target.data_ptr()
    return library.ssim(*pictures, *target.shape, window.data_ptr(), len(window), rows.data_ptr())


def _sum_in_torch(prediction: Tensor, target: Tensor, window: Tensor) -> float:
    total, (height, *_), size = 0.0, target.shape, len(window)
    for top in range(0, height - size + 1, _SSIM_ROWS):
        rows = slice(top, min(top + _SSIM_ROWS + size - 1, height))
        band = _ssim_map(prediction[rows].movedim(-1, 0), target[rows].movedim(-1, 0), window)
        total += float(band.sum(dtype=torch.float64))
    return total


def _ssim_map(a: Tensor, b: Tensor, window: Tensor) -> Tensor:
    maps = torch.stack([a, b, a * a, b * b, a * b]).flatten(0, 1)
    blurred = _blur_rows(_blur_rows(maps, window).transpose(-1, -2), window).transpose(-1, -2)
    mean_a, mean_b, square_a, square_b, product = blurred.view(5, len(a), *blurred.shape[-2:])
    c1, c2 = 0.01**2, 0.03**2
    covariance = product - mean_a * mean_b
    variances = square_a - mean_a**2 + square_b - mean_b**2
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return likeness / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))


def _blur_rows(maps: Tensor, window: Tensor) -> Tensor:
    """Windows inside the last axis, as products of tiles with a band matrix: much faster than a convolution."""
    size, length = len(window), maps.shape[-1] - len(window) + 1
    band = torch.stack([functional.pad(window, (j, _SSIM_TILE - 1 - j)) for j in range(_SSIM_TILE)], dim=1)
    padded = functional.pad(maps, (0, -length % _SSIM_TILE))
    return (padded.unfold(-1, _SSIM_TILE + size - 1, _SSIM_TILE) @ band).flatten(-2)[..., :length]


def patch_distance(
    drawn: Float[Tensor, "pictures height width channels"],
    held_out: Float[Tensor, "others height width channels"],
    *,
    side: int = 7,
    num_directions: int = 128,
    max_patches: int = 20_000,
    seed: int = 0,
) -> float:
    """Distance between the patches of two sets of pictures in [0, 1]; 0 where they have the same statistics.

    Patches of `side` x `side` pixels are projected on random directions of length 1; along each, the sorted values of
    as many patches of both sets are compared, and their differences averaged.

    Source: sliced Wasserstein distance, Rabin et al. 2011, "Wasserstein Barycenter and Its Application to Texture
    Mixing"; on patches as in Karras et al. 2018, "Progressive Growing of GANs", section 5.
    """
    generator = torch.Generator().manual_seed(seed)
    both = [functional.unfold(p.permute(0, 3, 1, 2), side).transpose(1, 2).flatten(0, 1) for p in (drawn, held_out)]
    num = min(max_patches, *map(len, both))
    directions = functional.normalize(torch.randn(both[0].shape[1], num_directions, generator=generator), dim=0)
    a, b = ((p[torch.randperm(len(p), generator=generator)[:num]] @ directions).sort(dim=0).values for p in both)
    return float((a - b).abs().mean())
