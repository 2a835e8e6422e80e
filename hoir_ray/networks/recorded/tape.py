"""A network as a tape: a flat list of operations on numbered values, which the compiled kernels run."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hoir_ray.networks import layers, normalization
from hoir_ray.networks.basis import Basis, Identity
from hoir_ray.networks.combine import Join
from hoir_ray.networks.mlp import MLP
from hoir_ray.networks.native import max_abs
from hoir_ray.networks.native.links import in_range, plan_of
from hoir_ray.networks.recorded.structs import Operation, OperationStruct, ParameterStruct, TapeStruct, ValueStruct


class UnrecordableError(Exception):
    """A network that no tape holds; it is run by torch."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A batch's inputs as a tape takes them.

    Attributes:
        rows: One for each sample.
        shared: Rows that all samples share, of which `picked` names one for each sample.
    """

    rows: Tensor
    shared: Tensor | None = None
    picked: Tensor | None = None


@runtime_checkable
class Recordable(Protocol):
    """A network of several inputs that can be written on a tape; those of one input need not say how."""

    def tape_inputs(self, *inputs: Tensor) -> Inputs:
        """Convert the arguments of `forward` into the tape's inputs."""
        ...

    def record(self, tape: Tape, inputs: Inputs, *, num_rows: int) -> None:
        """Call the tape's methods in the order of `forward`, the output last; `num_rows` are those of a batch."""
        ...


class Tape:
    """Operations in the order of their running; its methods take and return numbers of values.

    Attributes:
        parameters: The network's, in the order in which the operations first need them.
        shared_width: Of the rows that all samples share, if there are any.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.parameters: list[Tensor] = []
        self._specs: list[ParameterStruct] = []
        self._values: list[ValueStruct] = []
        self._operations: list[OperationStruct] = []
        self._plans: list[Any] = []  # kept alive for the addresses in the others
        self._shared_values: set[int] = set()
        self._num_shared, self._kept_width = 0, 0
        self.shared_width: int | None = None

    @property
    def ends(self) -> tuple[int, int]:
        """Widths of the samples' own inputs and of the outputs."""
        return self._values[0].width, self._values[-1].width

    def inputs(self, inputs: Inputs) -> tuple[int, int | None]:
        """The values of the samples' own rows and of the shared ones; called once, before anything else."""
        rows = self._value(inputs.rows.shape[1], has_gradient=False)
        if inputs.shared is None:
            return rows, None
        self.shared_width = inputs.shared.shape[1]
        shared = self._value(self.shared_width, has_gradient=False)
        self._shared_values.add(shared)
        return rows, shared

    def run(self, module: nn.Module, value: int) -> int:
        """The output of a module of one input.

        Raises:
            UnrecordableError: If no operation computes it.
        """
        _refuse_hooks(module)
        record = _RECORDERS.get(type(module))
        if record is None:
            raise UnrecordableError(f"no operation computes a {type(module).__name__}")
        return record(self, module, value)

    def pick(self, value: int) -> int:
        """Each sample's row of a value that has the shared rows, all of whose calls come before those of samples."""
        picked = self._values[value]
        if picked.has_gradient and picked.kept < 0:
            picked.kept, self._kept_width = self._kept_width, self._kept_width + picked.width
        return self._step(Operation.PICK, value, width=picked.width)

    def add(self, one: int, other: int) -> int:
        """The sum of two values."""
        return self._step(Operation.ADD, one, other=other, width=self._values[one].width)

    def links(self, value: int, weight: Tensor, *, basis: Basis, join: Join, is_transposed: bool = False) -> int:
        """A layer of links; a linear layer is one of the identity, whose weight is the table's transpose."""
        if not in_range(basis, self.dtype):
            raise UnrecordableError(f"{basis} is out of range for {self.dtype}")
        out, num_inputs = (weight.shape[0], weight.shape[1]) if is_transposed else (weight.shape[-1], weight.shape[0])
        plan = plan_of(basis, join, num_inputs, out, self.dtype)
        self._plans.append(plan)
        address = ctypes.addressof(plan.contents)
        number = self._parameter(weight, rows=num_inputs * basis.num_rows, columns=out, plan=address)
        self._specs[number].is_transposed = is_transposed
        return self._step(Operation.LINKS, value, width=out, weight=number, plan=address, has_gradient=True)

    def bias(self, value: int, bias: Tensor | None) -> int:
        """Added in place."""
        if bias is not None:
            self._in_place(Operation.BIAS, value, bias=self._parameter(bias, rows=1, columns=len(bias)))
        return value

    def relu(self, value: int) -> int:
        """Apply in place."""
        self._in_place(Operation.RELU, value)
        return value

    def normalize(self, value: int, kind: str, eps: float, *parameters: Tensor) -> int:
        """`kind` in capitals as in native/tape.h; LAYER_NORM has a weight and a bias."""
        width = self._values[value].width
        numbers = [self._parameter(parameter, rows=1, columns=width) for parameter in parameters]
        weight, bias = numbers or (0, 0)
        return self._step(Operation[kind], value, width=width, constant=eps, weight=weight, bias=bias)

    def fold(self, value: int, period: float) -> int:
        """Mirror images; see `basis.fold`."""
        return self._step(Operation.FOLD, value, width=self._values[value].width, constant=period)

    def tanh(self, value: int) -> int:
        """Apply in place."""
        self._in_place(Operation.TANH, value)
        return value

    def modulate(self, value: int, by: int) -> int:
        """value * (1 + scale) + shift, where `by` has both side by side, or the scale alone."""
        return self._step(Operation.MODULATE, value, other=by, width=self._values[value].width)

    def multiply(self, one: int, other: int) -> int:
        """The product of two values."""
        return self._step(Operation.MULTIPLY, one, other=other, width=self._values[one].width)

    def close(self) -> TapeStruct:
        """The whole, with its arrays held by it.

        Raises:
            UnrecordableError: If a value's gradient would have to be added up by operations that only set it.
        """
        written: set[int] = set()
        adding = (Operation.LINKS, Operation.FOLD)
        for operation in reversed(self._operations):
            if operation.to == operation.from_:
                continue
            if operation.kind == Operation.PICK:  # its gradients are kept apart until all samples are through
                written.add(operation.from_)
                continue
            operation.adds = operation.from_ in written
            if operation.adds and operation.kind not in adding:
                raise UnrecordableError("a value is read by several operations that set its gradient")
            written |= {operation.from_, operation.other} if _reads_two(operation) else {operation.from_}
        arrays: dict[str, ctypes.Array[Any]] = {
            "values": (ValueStruct * len(self._values))(*self._values),
            "operations": (OperationStruct * len(self._operations))(*self._operations),
            "parameters": (ParameterStruct * len(self._specs))(*self._specs),
        }
        tape = TapeStruct(
            num_values=len(self._values),
            num_operations=len(self._operations),
            num_shared=self._num_shared,
            num_parameters=len(self._specs),
            kept_width=self._kept_width,
            **{name: ctypes.addressof(array) for name, array in arrays.items()},
        )
        tape.arrays, tape.plans = arrays, self._plans
        return tape

    def _value(self, width: int, *, has_gradient: bool) -> int:
        self._values.append(ValueStruct(width=width, has_gradient=has_gradient, kept=-1))
        return len(self._values) - 1

    def _parameter(self, parameter: Tensor, *, rows: int, columns: int, plan: int | None = None) -> int:
        if not parameter.requires_grad or any(parameter is known for known in self.parameters):
            raise UnrecordableError("a parameter is frozen or belongs to two layers")
        self.parameters.append(parameter)
        self._specs.append(ParameterStruct(rows=rows, columns=columns, plan=plan))
        return len(self._specs) - 1

    def _step(self, kind: Operation, value: int, *, width: int, has_gradient: bool | None = None, **fields: Any) -> int:
        known = bool(self._values[value].has_gradient)
        to = self._value(width, has_gradient=known if has_gradient is None else has_gradient)
        if value in self._shared_values and kind != Operation.PICK:
            self._shared_values.add(to)
        self._append(OperationStruct(kind=kind, from_=value, to=to, **fields))
        return to

    def _in_place(self, kind: Operation, value: int, **fields: int) -> None:
        self._append(OperationStruct(kind=kind, from_=value, to=value, **fields))

    def _append(self, operation: OperationStruct) -> None:
        if operation.to in self._shared_values:
            if self._num_shared < len(self._operations):
                raise UnrecordableError("operations on shared rows must come before those of samples")
            self._num_shared += 1
        self._operations.append(operation)


def record(network: nn.Module, inputs: tuple[Tensor, ...], *, num_rows: int, dtype: torch.dtype) -> Tape:
    """The network's tape for batches of `num_rows` samples; of `inputs`, those of any batch, only the widths are read.

    Raises:
        UnrecordableError: If some part of it has no operation.
    """
    tape = Tape(dtype)
    _refuse_hooks(network)
    if isinstance(network, Recordable):
        network.record(tape, network.tape_inputs(*inputs), num_rows=num_rows)
    elif len(inputs) == 1:
        rows, _ = tape.inputs(Inputs(rows=inputs[0]))
        tape.run(network, rows)
    else:
        raise UnrecordableError(f"a {type(network).__name__} does not say how its inputs are taken")
    if len(tape.parameters) != sum(1 for _ in network.parameters()):
        raise UnrecordableError("some parameters are in no operation")
    return tape


def inputs_of(network: nn.Module, inputs: tuple[Tensor, ...]) -> Inputs:
    """A batch's inputs as the network's tape takes them."""
    return network.tape_inputs(*inputs) if isinstance(network, Recordable) else Inputs(rows=inputs[0])


def _refuse_hooks(module: nn.Module) -> None:
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
        raise UnrecordableError(f"a {type(module).__name__} has hooks")


def _reads_two(operation: OperationStruct) -> bool:
    return operation.kind in (Operation.ADD, Operation.MULTIPLY, Operation.MODULATE)


def _sequence(tape: Tape, module: nn.Sequential, value: int) -> int:
    for part in module:
        value = tape.run(part, value)
    return value


def _links(tape: Tape, module: layers.Links, value: int) -> int:
    if module.periodicity is not None:
        value = tape.fold(value, module.periodicity)
    return tape.bias(tape.links(value, module.weight, basis=module.basis, join=module.join), module.bias)


def _switch(tape: Tape, module: layers.Switch, value: int) -> int:
    first, second = module.halves
    return tape.multiply(tape.run(first, value), tape.run(second, value))


def _linear(tape: Tape, module: nn.Linear, value: int) -> int:
    joined = tape.links(value, module.weight, basis=Identity(), join="sum", is_transposed=True)
    return tape.bias(joined, module.bias)


def _layer_norm(tape: Tape, module: nn.LayerNorm, value: int) -> int:
    if len(module.normalized_shape) != 1 or not module.elementwise_affine or module.bias is None:
        raise UnrecordableError("only a LayerNorm of rows, with weight and bias, has an operation")
    return tape.normalize(value, "LAYER_NORM", module.eps, module.weight, module.bias)


_RECORDERS: dict[type[nn.Module], Callable[[Tape, Any, int], int]] = {
    layers.Links: _links,
    layers.Switch: _switch,
    layers.LinearRelu: lambda tape, module, value: tape.relu(_linear(tape, module.linear, value)),
    nn.Linear: _linear,
    nn.Sequential: _sequence,
    MLP: lambda tape, module, value: tape.run(module.layers, value),
    nn.LayerNorm: _layer_norm,
    nn.Identity: lambda tape, module, value: value,
    normalization.MaxAbs: lambda tape, module, value: tape.normalize(value, "MAX_ABS", max_abs.EPS),
    normalization.MaxCenter: lambda tape, module, value: tape.normalize(value, "MAX_CENTER", max_abs.EPS),
    normalization.L2: lambda tape, module, value: tape.normalize(value, "L2", max_abs.EPS),
}
