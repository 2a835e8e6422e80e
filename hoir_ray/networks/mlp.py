"""The network: an input layer, hidden layers and an output layer, with normalizations between them."""

from __future__ import annotations

from torch import Tensor, nn

from hoir_ray.networks.config import NetworkConfig
from hoir_ray.networks.layers import build_layer
from hoir_ray.networks.normalization import build_normalization
from hoir_ray.networks.resolve import is_normalized, resolve


class MLP(nn.Module):
    """Maps [batch, in_width] to [batch, out_width]; `layers` runs in order and is numbered as upstream's `model`."""

    def __init__(self, config: NetworkConfig, *, in_width: int, out_width: int) -> None:
        super().__init__()
        self.config, self.in_width, self.out_width = config, in_width, out_width
        first, hidden, last = resolve(config)
        width = config.hidden.width
        layers = [build_layer(first, in_width=in_width, out_width=width)]
        rest = [(hidden, width)] * config.hidden.num_layers + [(last, out_width)]
        before = first
        for layer, out in rest:
            if is_normalized(config, before) and (normal := build_normalization(config.normalization, width=width)):
                layers.append(normal)
            layers.append(build_layer(layer, in_width=width, out_width=out))
            before = layer
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def build_mlp(config: NetworkConfig, *, in_width: int, out_width: int) -> MLP:
    """Build the network with fresh weights from torch's global generator.

    Args:
        in_width: Numbers per sample that go in.
        out_width: Numbers per sample that come out.
    """
    return MLP(config, in_width=in_width, out_width=out_width)
