"""The step of each tensor: a coordinate search for the least error and bytes together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float32
from torch import nn

from hoir_ray.packs.codec.steps import HIGHEST_CODE, LOWEST_CODE, nearest_code, to_integers, to_weights
from hoir_ray.packs.codec.tensors import WHOLE, as_links, differences, entropy_bits
from hoir_ray.packs.quantization.distortion import LOWEST_MSE, Distortion

NUM_ROUNDS = 8
STRIDES = (-4, -2, -1, 1, 2, 4)
START_BITS = 8
USUAL_BITS = 5.0  # a weight, at which `trade` is counted
_COUNTED = 65_536  # weights of a tensor whose entropy stands for all

Codes = dict[str, int]
Weights = Mapping[str, Float32[np.ndarray, "..."]]


def weights_of(network: nn.Module) -> dict[str, Float32[np.ndarray, ...]]:
    """A copy of the network's tensors, by name."""
    return {name: tensor.detach().cpu().float().numpy().copy() for name, tensor in network.state_dict().items()}


def uniform_codes(weights: Weights, *, bits: float) -> Codes:
    """Each tensor's range cut into 2**bits - 1 steps, the nearest ones on the ladder."""
    return {name: nearest_code(2 * _largest(tensor) / (2**bits - 1)) for name, tensor in weights.items()}


def search_codes(
    distortion: Distortion, weights: Weights, *, trade: float, start: Mapping[str, int] | None = None
) -> Codes:
    """Steps that minimise `mse / mse of the exact weights + trade * bits / usual bits`; leaves rounded weights behind.

    Relative on both sides, one `trade` serves pictures that are easy and hard and networks of all sizes: at 1, a
    percent of the bytes is worth a percent of the error. Each tensor in turn moves to the best of several steps around
    its own, until a round changes nothing.
    """
    set_weights(distortion.network, weights)
    search = _Search(distortion, weights, trade=trade, codes=dict(start or uniform_codes(weights, bits=START_BITS)))
    for _ in range(NUM_ROUNDS):
        if sum(search.improve(name) for name in weights) == 0:
            break
    return search.codes


class _Search:
    def __init__(self, distortion: Distortion, weights: Weights, *, trade: float, codes: Codes) -> None:
        self.codes, self._distortion, self._weights = codes, distortion, weights
        self._per_error = 1 / max(distortion(), LOWEST_MSE)
        self._per_bit = trade / (USUAL_BITS * max(1, sum(tensor.size for tensor in weights.values())))
        self._bits = {name: estimated_bits(tensor, code=codes[name]) for name, tensor in weights.items()}
        for name, code in codes.items():
            self._round(name, code)
        self._cost = self._cost_now()

    def improve(self, name: str) -> bool:
        """Move one tensor's step to the best of its neighbours on the ladder; False if it stays."""
        start = self.codes[name]
        return sum(self._try(name, start + stride) for stride in STRIDES) > 0

    def _try(self, name: str, code: int) -> bool:
        if not LOWEST_CODE <= code <= HIGHEST_CODE:
            return False
        bits = self._bits[name]
        self._bits[name] = estimated_bits(self._weights[name], code=code)
        self._round(name, code)
        cost = self._cost_now()
        if cost < self._cost:
            self._cost, self.codes[name] = cost, code
            return True
        self._bits[name] = bits
        self._round(name, self.codes[name])
        return False

    def _cost_now(self) -> float:
        return self._distortion() * self._per_error + sum(self._bits.values()) * self._per_bit

    def _round(self, name: str, code: int) -> None:
        rounded = to_weights(to_integers(self._weights[name], code=code), code=code)
        set_weights(self._distortion.network, {name: rounded})


def rounded_weights(weights: Weights, codes: Mapping[str, int]) -> Weights:
    """The weights in whole steps."""
    return {
        name: to_weights(to_integers(tensor, code=codes[name]), code=codes[name]) for name, tensor in weights.items()
    }


@torch.no_grad()
def set_weights(network: nn.Module, weights: Weights) -> None:
    """Put these tensors in the network's place of the same names."""
    state = network.state_dict()
    for name, tensor in weights.items():
        state[name].copy_(torch.from_numpy(tensor))


def estimated_bits(weights: Float32[np.ndarray, ...], *, code: int) -> float:
    """Estimate the bits of a tensor by the entropy of its integers or of their differences, whichever is less."""
    table = weights.reshape(as_links(weights.shape))
    every = max(1, table.size // _COUNTED)
    inputs = table[::every] if table.shape[1] > 1 else table[..., ::every]
    integers = to_integers(inputs, code=code)
    leaks = (0, WHOLE // 2, WHOLE) if table.shape[1] > 1 else (0,)
    fewest = min(entropy_bits(differences(integers, leak=leak)) for leak in leaks)
    return fewest * table.size / max(1, integers.size)


def _largest(tensor: Float32[np.ndarray, ...]) -> float:
    return float(np.abs(tensor).max(initial=0.0))
