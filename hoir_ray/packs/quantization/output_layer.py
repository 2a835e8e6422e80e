"""The output layer solved again: linear in its weights, it can make up for what rounding the others has cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor, nn

from hoir_ray.networks.layers import Links
from hoir_ray.packs.codec.steps import step_size, to_integers, to_weights
from hoir_ray.packs.quantization.distortion import Distortion

MAX_FEATURES = 1024  # the normal equations have their square
_RIDGE = 1e-6  # of the mean diagonal; features that no sample reaches keep what they had
_SWEEPS = 4


@dataclass(frozen=True, kw_only=True)
class NormalEquations:
    """Least squares for one layer, as sums over the samples.

    Attributes:
        name: The layer's weight in the network's state.
        gram: Products of features with features, per sample.
        moments: Products of features with what the layer should give.
    """

    name: str
    gram: Float64[np.ndarray, "features features"]
    moments: Float64[np.ndarray, "features out"]

    def solve(self, before: Float64[np.ndarray, "features out"]) -> Float64[np.ndarray, "features out"]:
        """The weights of least error; directions that the samples do not tell stay as they were `before`."""
        ridge = _RIDGE * max(float(np.trace(self.gram)) / len(self.gram), 1e-12)
        damped = self.gram + ridge * np.eye(len(self.gram))
        return np.linalg.solve(damped, self.moments + ridge * before)

    def round(
        self, solution: Float64[np.ndarray, "features out"], *, step: float
    ) -> Float64[np.ndarray, "features out"]:
        """Whole steps near the solution, each weight in turn the one of least error given all the others'."""
        rounded = np.rint(solution / step) * step
        for _ in range(_SWEEPS):
            for row, scale in enumerate(np.diag(self.gram)):
                if scale > 0:
                    pull = self.gram[row] @ (rounded - solution) / scale
                    rounded[row] = np.rint((rounded[row] - pull) / step) * step
        return rounded


def refit(distortion: Distortion, weights: dict[str, Float32[np.ndarray, ...]], *, code: int | None) -> str | None:
    """Replace the output layer's weights in `weights` by those that fit the samples best, the rest being as it is.

    Args:
        code: The step that they are rounded to; None leaves them exact.

    Returns:
        The weight's name, or None for a network whose output is not linear in its last layer's weights.
    """
    equations = normal_equations(distortion)
    if equations is None:
        return None
    before = weights[equations.name]
    as_rows = _rows(before).astype(np.float64)
    solution = equations.solve(as_rows)
    if code is not None:
        solution = equations.round(solution, step=step_size(code))
    solved = (solution.T if before.ndim == 2 else solution).reshape(before.shape).astype(np.float32)
    weights[equations.name] = solved if code is None else to_weights(to_integers(solved, code=code), code=code)
    return equations.name


@torch.no_grad()
def normal_equations(distortion: Distortion) -> NormalEquations | None:
    """The sums over the samples; None where the last layer is a product or has too many features."""
    found = _output_layer(distortion)
    if found is None:
        return None
    name, layer = found
    features_of = _features(layer)
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    gram: Tensor | float = 0.0
    moments: Tensor | float = 0.0
    try:
        for inputs, target in distortion.batches:
            distortion.network(*inputs)
            features = features_of(seen.pop()).double()
            wanted = target.double() if layer.bias is None else target.double() - layer.bias.double()
            gram, moments = gram + features.T @ features, moments + features.T @ wanted
    finally:
        hook.remove()
    assert isinstance(gram, Tensor)
    assert isinstance(moments, Tensor)
    return NormalEquations(name=name, gram=gram.numpy(), moments=moments.numpy())


def _output_layer(distortion: Distortion) -> tuple[str, Links | nn.Linear] | None:
    """The layer whose output is the network's own, if that is a sum over its weights."""
    candidates = [(n, m) for n, m in distortion.network.named_modules() if isinstance(m, Links | nn.Linear)]
    if not candidates:
        return None
    name, layer = candidates[-1]
    outputs: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        last = distortion.network(*distortion.batches[0][0])
    finally:
        hook.remove()
    is_last = bool(outputs) and last.data_ptr() == outputs[-1].data_ptr()
    is_sum = isinstance(layer, nn.Linear) or (layer.join == "sum" and layer.bias is None)
    if not (is_last and is_sum and _num_features(layer) <= MAX_FEATURES):
        return None
    return f"{name}.weight", layer


def _num_features(layer: Links | nn.Linear) -> int:
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_width * layer.basis.num_rows


def _features(layer: Links | nn.Linear) -> nn.Module:
    """Compute the features that the layer's weights are multiplied with."""
    if isinstance(layer, nn.Linear):
        return nn.Identity()
    number = _num_features(layer)
    alone = Links(
        in_width=layer.in_width, out_width=number, basis=layer.basis, join="sum", periodicity=layer.periodicity
    )
    alone.weight.copy_(torch.eye(number).view(layer.in_width, layer.basis.num_rows, number))
    return alone


def _rows(weights: Float32[np.ndarray, ...]) -> Float32[np.ndarray, "features out"]:
    return weights.T if weights.ndim == 2 else weights.reshape(-1, weights.shape[-1])
