"""`--format onnx`: the network for onnxruntime and whatever else reads ONNX; its batch may have any size."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch

from hoir_ray.errors import RequestError
from hoir_ray.machine.files import replacing
from hoir_ray.packs.export.plain import plain_network
from hoir_ray.packs.pack import Pack

OPSET = 18


def write(pack: Pack, out: Path) -> str:
    """Write the model with its weights in one file.

    Raises:
        RequestError: If the extra `onnx` is not installed, or a layer cannot be exported.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401, which torch.onnx needs
    except ImportError as error:
        raise RequestError(f"--format onnx: needs {error.name}; run: pip install 'hoir-ray[onnx]'") from None
    plain = plain_network(pack, kind="onnx")
    names = list(plain.inputs)
    batch = {names[-1]: {0: torch.export.Dim.DYNAMIC}}
    _quiet()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            plain.network,
            tuple(plain.inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=["output"],
            dynamic_shapes=tuple(batch.get(name, {}) for name in names),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _name_batch(model, names[-1])
    onnx.helper.set_model_props(model, {"hoir_ray": plain.about})
    onnx.checker.check_model(model)
    with replacing(out) as file:
        file.write(model.SerializeToString())
    taken = ", ".join(
        f"{name} [{'batch' if name == names[-1] else 1}, {x.shape[1]}]" for name, x in plain.inputs.items()
    )
    return f"opset {OPSET}; {taken} -> output [batch, {model.graph.output[0].type.tensor_type.shape.dim[1].dim_value}]"


def _name_batch(model: object, name: str) -> None:
    """Call the dynamic dimension `batch`, of the input and of the output, which the tracer numbers."""
    graph = model.graph  # type: ignore[attr-defined]
    for value in (*(v for v in graph.input if v.name == name), *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def _quiet() -> None:
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
