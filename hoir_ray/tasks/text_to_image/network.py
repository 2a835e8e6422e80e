"""The associative dictionary's networks: captions that modulate every layer, or are added to the first one."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hoir_ray import networks
from hoir_ray.networks.normalization import build_normalization
from hoir_ray.networks.recorded.tape import Inputs, Tape
from hoir_ray.networks.resolve import ResolvedLayer, resolve
from hoir_ray.tasks.text_to_image.config import CaptionConfig, TextToImageConfig

# Straight lines in every number of an embedding, as upstream has it; more would only help to tell captions apart
# that differ in a single number.
CAPTION_LAYER = ResolvedLayer(layer_type="polynomial", num_nodes=2, segments=1)
CHANNELS = 3
CODE_REACH = 4.0  # length of a caption's embedding before the code's weights; a tanh bounds what comes out
NUM_MODULATIONS = {"scale_shift": 2, "scale": 1, "shift": 1}


class ModulatedPixels(nn.Module):
    """Colours at positions; the caption's code scales and shifts the outputs of every layer but the last.

    The dictionary is an input and not a weight, so that any caption can be drawn. Each of its rows goes through the
    code and the modulations once a batch, however many pixels ask for it.

    Source: Perez et al. 2018, "FiLM: Visual Reasoning with a General Conditioning Layer".
    """

    def __init__(self, config: TextToImageConfig) -> None:
        super().__init__()
        width, caption = config.network.hidden.width, config.network.caption
        first, hidden, last = resolve(config.network)
        self.mode = caption.mode
        self.code = nn.Linear(config.data.embedding_size, caption.size)
        self.layers = nn.ModuleList(
            [
                networks.build_layer(first, in_width=2 * config.data.num_rotations, out_width=width),
                *(
                    networks.build_layer(hidden, in_width=width, out_width=width)
                    for _ in range(config.network.hidden.num_layers)
                ),
            ]
        )
        self.modulations = nn.ModuleList(_modulation(caption, width=width) for _ in self.layers)
        self.normalizations = nn.ModuleList(
            build_normalization(config.network.normalization, width=width) or nn.Identity() for _ in self.layers
        )
        self.output = networks.build_layer(last, in_width=width, out_width=CHANNELS)

    def forward(
        self,
        dictionary: Float[Tensor, "captions embedding"],
        caption: Int[Tensor, " batch"],
        position: Float[Tensor, "batch axes"],
    ) -> Float[Tensor, "batch 3"]:
        code = torch.tanh(self.code(scaled(dictionary)))
        x = position
        for layer, modulation, normalize in zip(self.layers, self.modulations, self.normalizations, strict=True):
            x = normalize(self._modulate(layer(x), torch.index_select(modulation(code), 0, caption)))
        return self.output(x)

    def tape_inputs(self, dictionary: Tensor, caption: Tensor, position: Tensor) -> Inputs:
        return Inputs(rows=position, shared=scaled(dictionary), picked=caption)

    def record(self, tape: Tape, inputs: Inputs, *, num_rows: int) -> None:
        x, dictionary = tape.inputs(inputs)
        assert dictionary is not None
        code = tape.tanh(tape.run(self.code, dictionary))
        modulations = [tape.run(modulation, code) for modulation in self.modulations]
        for layer, modulation, normalize in zip(self.layers, modulations, self.normalizations, strict=True):
            x, by = tape.run(layer, x), tape.pick(modulation)
            x = tape.run(normalize, tape.add(x, by) if self.mode == "shift" else tape.modulate(x, by))
        tape.run(self.output, x)

    def _modulate(self, x: Tensor, by: Tensor) -> Tensor:
        if self.mode == "scale_shift":
            scale, shift = by.chunk(2, dim=1)
            return torch.addcmul(shift, x, 1 + scale)
        return x * (1 + by) if self.mode == "scale" else x + by


def _modulation(caption: CaptionConfig, *, width: int) -> nn.Linear:
    modulation = nn.Linear(caption.size, width * NUM_MODULATIONS[caption.mode])
    nn.init.normal_(modulation.weight, std=0.5 / math.sqrt(caption.size))
    nn.init.zeros_(modulation.bias)
    return modulation


class CaptionedPixels(nn.Module):
    """Colours at positions; a layer of the caption is added to the first layer, as upstream does."""

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
        dictionary = spread(dictionary)
        if caption.shape[0] < dictionary.shape[0]:  # `len` would fix the batch of an exported network
            described = self.caption_layer(dictionary[caption])
        else:
            described = torch.index_select(self.caption_layer(dictionary), 0, caption)
        return self.mlp(self.normalization(described + self.position_layer(position)))

    def tape_inputs(self, dictionary: Tensor, caption: Tensor, position: Tensor) -> Inputs:
        return Inputs(rows=position, shared=spread(dictionary), picked=caption)

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


def scaled(dictionary: Tensor) -> Tensor:
    return CODE_REACH * nn.functional.normalize(dictionary, dim=1)


def spread(dictionary: Tensor) -> Tensor:
    """A text model's vectors have length 1, so each number is tiny; at a root mean square of 1 they spread over the
    range in which the layer's lines are drawn."""
    return nn.functional.normalize(dictionary, dim=1) * math.sqrt(dictionary.shape[1])


def build_network(config: TextToImageConfig) -> nn.Module:
    """The network with fresh weights, drawn from torch's global generator."""
    return CaptionedPixels(config) if config.network.caption.mode == "add" else ModulatedPixels(config)


def num_parameters(config: TextToImageConfig) -> int:
    """Trainable parameters, counted from the config alone."""
    width, caption = config.network.hidden.width, config.network.caption
    axes, embedding = 2 * config.data.num_rotations, config.data.embedding_size
    if caption.mode != "add":
        num_modulated = 1 + config.network.hidden.num_layers
        return (
            networks.num_parameters(config.network, in_width=axes, out_width=CHANNELS)
            + (embedding + 1) * caption.size
            + num_modulated * (caption.size + 1) * width * NUM_MODULATIONS[caption.mode]
        )
    position, _, _ = resolve(config.network)
    return (
        CAPTION_LAYER.num_parameters(in_width=embedding, out_width=width)
        + position.num_parameters(in_width=axes, out_width=width)
        + (2 * width if config.network.normalization == "layer_norm" else 0)
        + networks.num_parameters(config.mlp, in_width=width, out_width=CHANNELS)
    )
