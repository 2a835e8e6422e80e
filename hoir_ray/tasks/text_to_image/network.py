"""The associative dictionary's network: caption and position each through a layer of their own, summed, then an MLP."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hoir_ray import networks
from hoir_ray.networks.native.tape import Inputs, Tape
from hoir_ray.networks.normalization import build_normalization
from hoir_ray.networks.resolve import ResolvedLayer, resolve
from hoir_ray.tasks.text_to_image.config import TextToImageConfig

# Straight lines in every number of an embedding, as upstream has it; more would only help to tell captions apart
# that differ in a single number.
CAPTION_LAYER = ResolvedLayer(layer_type="polynomial", num_nodes=2, segments=1)
CHANNELS = 3


class CaptionedPixels(nn.Module):
    """Colours at positions of the pictures that captions stand for.

    The dictionary is an input and not a weight, so that any caption can be drawn; each of its rows goes through the
    caption layer once a batch, however many pixels ask for it.
    """

    def __init__(self, config: TextToImageConfig) -> None:
        super().__init__()
        width = config.network.hidden.width
        position, _, _ = resolve(config.network)
        self.caption_layer = networks.build_layer(CAPTION_LAYER, in_width=config.data.embedding_size, out_width=width)
        self.position_layer = networks.build_layer(position, in_width=2 * config.data.num_rotations, out_width=width)
        self.normalization = build_normalization(config.network.normalization, width=width) or nn.Identity()
        self.mlp = networks.build_mlp(config.mlp, in_width=width, out_width=CHANNELS)

    def forward(
        self,
        dictionary: Float[Tensor, "captions embedding"],
        caption: Int[Tensor, " batch"],
        position: Float[Tensor, "batch axes"],
    ) -> Float[Tensor, "batch 3"]:
        dictionary = _spread(dictionary)
        if len(caption) < len(dictionary):
            described = self.caption_layer(dictionary[caption])
        else:
            described = torch.index_select(self.caption_layer(dictionary), 0, caption)
        return self.mlp(self.normalization(described + self.position_layer(position)))

    def tape_inputs(self, dictionary: Tensor, caption: Tensor, position: Tensor) -> Inputs:
        return Inputs(rows=position, shared=_spread(dictionary), picked=caption)

    def record(self, tape: Tape, inputs: Inputs, *, num_rows: int) -> None:
        position, dictionary = tape.inputs(inputs)
        assert inputs.shared is not None
        assert dictionary is not None
        if num_rows < len(inputs.shared):
            described = tape.run(self.caption_layer, tape.pick(dictionary))
        else:
            described = tape.pick(tape.run(self.caption_layer, dictionary))
        summed = tape.add(described, tape.run(self.position_layer, position))
        tape.run(self.mlp, tape.run(self.normalization, summed))


def _spread(dictionary: Tensor) -> Tensor:
    """A text model's vectors have length 1, so each number is tiny; at a root mean square of 1 they spread over the
    range in which the layer's lines are drawn."""
    return nn.functional.normalize(dictionary, dim=1) * math.sqrt(dictionary.shape[1])


def build_network(config: TextToImageConfig) -> nn.Module:
    """The network with fresh weights, drawn from torch's global generator."""
    return CaptionedPixels(config)


def num_parameters(config: TextToImageConfig) -> int:
    """Trainable parameters, counted from the config alone."""
    width = config.network.hidden.width
    position, _, _ = resolve(config.network)
    return (
        CAPTION_LAYER.num_parameters(in_width=config.data.embedding_size, out_width=width)
        + position.num_parameters(in_width=2 * config.data.num_rotations, out_width=width)
        + (2 * width if config.network.normalization == "layer_norm" else 0)
        + networks.num_parameters(config.mlp, in_width=width, out_width=CHANNELS)
    )
