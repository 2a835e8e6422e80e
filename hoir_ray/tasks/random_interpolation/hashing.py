"""Random numbers as hashes of a sample's number and a salt.

They are the same whatever the batches, the devices and the number of workers, and a resumed epoch repeats itself
exactly, which the next value of a generator would not be.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


def hash_each(hashed: Tensor, *, num: int) -> Tensor:
    # Weyl's sequence: each number from 0 to `num` moves the sample's hash by another odd multiple, then it is mixed.
    weyl = torch.arange(num, dtype=torch.int32, device=hashed.device) * _signed(0x9E3779B9)
    return mix(hashed.unsqueeze(1) + weyl)


def salt_for(seed: int, *, epoch: int) -> int:
    """A 32-bit number, as a signed one, that is another for each seed and epoch."""
    return _signed(int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0]))


def mix(x: Int[Tensor, ...]) -> Int[Tensor, ...]:
    """Each 32-bit number's hash; changing one bit changes each bit of the hash in half of the cases.

    Source: "lowbias32" of Chris Wellons' hash prospector, https://github.com/skeeto/hash-prospector.
    """
    # Shifts of signed numbers bring copies of the sign, which are masked away.
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * 0x7FEB352D
    x ^= (x >> 15) & 0x1FFFF
    x = x * _signed(0x846CA68B)
    x ^= (x >> 16) & 0xFFFF
    return x


def _signed(value: int) -> int:
    return value - 2**32 if value >= 2**31 else value
