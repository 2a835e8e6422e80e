"""A recorded network that trains for many optimizer steps, or gives its outputs for many rows, in one compiled call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from hoir_ray.networks.native.library import C_TYPES, library
from hoir_ray.networks.recorded.tape import Inputs, Tape, UnrecordableError, inputs_of, record

UpdateRule = Literal["adam", "adamw", "lion", "sparse_lion"]
_RULES: tuple[UpdateRule, ...] = ("adam", "adamw", "lion", "sparse_lion")
_DONE, _NO_MEMORY = 0, 1


class _Optimizer(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("kind", "steps_done")),
        *((name, ctypes.c_double) for name in ("beta1", "beta2", "eps", "decay")),
        ("rates", ctypes.c_void_p),
    )


class _Samples(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("inputs", "targets", "picked", "shared")),
        *((name, ctypes.c_int64) for name in ("num_samples", "num_shared")),
    )


class _Run(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("tape", "samples", "optimizer", "index")),
        *((name, ctypes.c_int64) for name in ("num_steps", "batch", "num_threads")),
        *((name, ctypes.c_void_p) for name in ("losses", "outputs")),
    )


@dataclass(frozen=True, kw_only=True)
class Update:
    """Update rule of the weights, for the steps of one call.

    Attributes:
        moments: For each parameter its running averages of the gradient and, for adam and adamw, of its square; they
            are changed in place, as the parameters are.
        steps_done: Before these.
        rates: The learning rate of each step.
    """

    rule: UpdateRule
    beta1: float
    beta2: float
    eps: float = 0.0
    weight_decay: float = 0.0
    steps_done: int
    rates: Sequence[float]
    moments: Sequence[tuple[Tensor, Tensor | None]]


class Program:
    """One network's tape, and the kernels that run it."""

    def __init__(self, network: nn.Module, tape: Tape, kernels: ctypes.CDLL) -> None:
        self._network, self._tape, self._kernels = network, tape, kernels
        self._struct = tape.close()
        self.dtype = tape.dtype

    @property
    def parameters(self) -> Sequence[Tensor]:
        """Parameters in the order of an update's moments."""
        return self._tape.parameters

    @property
    def out_width(self) -> int:
        """Numbers of a sample's output."""
        return self._tape.ends[1]

    @property
    def row_bytes(self) -> int:
        """Bytes of a sample's own inputs and its target."""
        return sum(self._tape.ends) * self.dtype.itemsize

    def inputs(self, inputs: tuple[Tensor, ...]) -> Inputs:
        """The network's inputs as the program takes them."""
        return inputs_of(self._network, inputs)

    def training_bytes(self, inputs: Inputs, *, num_rows: int) -> int:
        """Working memory of `train` for batches of `num_rows`."""
        optimizer = _Optimizer(kind=0)
        samples = _Samples(num_shared=0 if inputs.shared is None else len(inputs.shared))
        run = self._run_struct(samples, optimizer=ctypes.addressof(optimizer), batch=num_rows)
        return self._kernels.run_bytes(ctypes.addressof(run))

    def train(
        self,
        inputs: Inputs,
        target: Float[Tensor, "samples out"],
        index: Int64[Tensor, "steps batch"],
        *,
        update: Update,
    ) -> Float64[Tensor, " steps"]:
        """Optimizer steps on the samples numbered by each row of `index`; returns each step's mean squared error.

        Raises:
            MemoryError: If there is none for the intermediate values; nothing is trained.
            IndexError: If a number is out of range; the weights stay as they were.
        """
        index, target, rates = index.contiguous(), target.contiguous(), torch.tensor(update.rates, dtype=torch.float64)
        if target.dtype != self.dtype or target.shape != (len(inputs.rows), self._tape.ends[1]):
            raise ValueError(f"targets must be {self.dtype} of {self._tape.ends[1]} numbers, got {_said(target)}")
        losses = torch.empty(len(index), dtype=torch.float64)
        optimizer = _Optimizer(
            kind=_RULES.index(update.rule),
            steps_done=update.steps_done,
            beta1=update.beta1,
            beta2=update.beta2,
            eps=update.eps,
            decay=update.weight_decay,
            rates=rates.data_ptr(),
        )
        self._point(update.moments)
        self._run(
            inputs,
            target=target,
            optimizer=ctypes.addressof(optimizer),
            index=index.data_ptr(),
            num_steps=len(index),
            batch=index.shape[1],
            losses=losses.data_ptr(),
        )
        return losses

    def predict(self, inputs: Inputs, *, outputs: Tensor | None = None) -> Float[Tensor, "samples out"]:
        """Outputs for all rows in order.

        Args:
            outputs: Contiguous memory that they are written to, instead of a new tensor.

        Raises:
            MemoryError: If there is none for the intermediate values.
        """
        shape = (len(inputs.rows), self.out_width)
        if outputs is None:
            outputs = torch.empty(shape, dtype=self.dtype)
        elif outputs.shape != shape or outputs.dtype != self.dtype or not outputs.is_contiguous():
            raise ValueError(f"outputs must be contiguous, {self.dtype} {list(shape)}, got {_said(outputs)}")
        self._point([])
        self._run(inputs, num_steps=1, batch=len(outputs), outputs=outputs.data_ptr())
        return outputs

    def _point(self, moments: Sequence[tuple[Tensor, Tensor | None]]) -> None:
        """Fills in where the tensors are now."""
        for number, parameter in enumerate(self._tape.parameters):
            spec = self._struct.arrays["parameters"][number]
            given = (parameter, *(moments[number] if moments else (None, None)))
            spec.value, spec.moment, spec.square = (None if t is None else _address(t, parameter) for t in given)

    def _run(self, inputs: Inputs, *, target: Tensor | None = None, **fields: int) -> None:
        rows, shared, picked = (
            None if t is None else t.contiguous() for t in (inputs.rows, inputs.shared, inputs.picked)
        )
        assert rows is not None
        self._check(rows, shared, picked)
        addresses = [None if t is None else t.data_ptr() for t in (rows, target, picked, shared)]
        samples = _Samples(*addresses, num_samples=len(rows), num_shared=0 if shared is None else len(shared))
        run = self._run_struct(samples, **fields)
        outcome = self._kernels.run(ctypes.addressof(run))
        if outcome == _NO_MEMORY:
            needed_mb = self._kernels.run_bytes(ctypes.addressof(run)) / 1e6
            raise MemoryError(f"the network's compiled code could not allocate its working memory, {needed_mb:,.0f} MB")
        if outcome != _DONE:
            raise IndexError(
                f"samples must be numbered from 0 to {len(rows) - 1}, and shared rows below {samples.num_shared}"
            )

    def _run_struct(self, samples: _Samples, **fields: int) -> _Run:
        return _Run(
            tape=ctypes.addressof(self._struct),
            samples=ctypes.addressof(samples),
            num_threads=torch.get_num_threads(),
            **fields,
        )

    def _check(self, rows: Tensor, shared: Tensor | None, picked: Tensor | None) -> None:
        width = self._tape.ends[0]
        if rows.dtype != self.dtype or rows.dim() != 2 or rows.shape[1] != width:
            raise ValueError(f"inputs must be {self.dtype} of {width} numbers, got {_said(rows)}")
        if (shared is None) != (self._tape.shared_width is None) or (picked is None) != (shared is None):
            raise ValueError("rows that all samples share must be given just where the network was recorded with them")
        if shared is None or picked is None:
            return
        if shared.dtype != self.dtype or shared.dim() != 2 or shared.shape[1] != self._tape.shared_width:
            raise ValueError(
                f"shared rows must be {self.dtype} of {self._tape.shared_width} numbers, got {_said(shared)}"
            )
        if picked.dtype != torch.int64 or picked.shape != (len(rows),):
            raise ValueError(f"picked rows must be int64, one for each of {len(rows)} samples, got {_said(picked)}")


def build_program(
    network: nn.Module, inputs: tuple[Tensor, ...], *, num_rows: int, kernels: ctypes.CDLL | None = None
) -> Program | None:
    """The network as a program, or None where torch must run it.

    Args:
        inputs: Of any batch; their widths are read.
        num_rows: Samples of a batch.
        kernels: In place of those of this machine.
    """
    parameters = list(network.parameters())
    dtype = parameters[0].dtype if parameters else torch.float32
    if dtype not in C_TYPES or any(p.dtype != dtype or p.device.type != "cpu" for p in parameters):
        return None
    kernels = kernels or library(dtype)
    if kernels is None:
        return None
    try:
        return Program(network, record(network, inputs, num_rows=num_rows, dtype=dtype), kernels)
    except UnrecordableError:
        return None


def _said(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def _address(tensor: Tensor, like: Tensor) -> int:
    if not tensor.is_contiguous() or tensor.dtype != like.dtype or tensor.shape != like.shape:
        raise ValueError(f"must be contiguous like the parameter, {_said(like)}, got {_said(tensor)}")
    return tensor.data_ptr()
