"""Kernels of sums of piecewise polynomials and of a normalization, in float32, for blocks of a batch's rows.

Arguments of the former: x [batch, in], table [in, V, out], nodes [n], and factors [n], one over each basis polynomial's
value at its own node. A value lies at `local` in its segment, from -1 to 1, which moves `rate` times as fast.
"""

# mypy: ignore-errors
# ruff: noqa: N803  (Triton's constants are written in capitals)

from __future__ import annotations

import triton
import triton.language as tl

# One program for all shapes: a network's layers differ in them, and compiling takes longer than it would save.
SIZES = ("num_rows", "num_inputs", "num_outputs", "num_weights", "segments", "stride")


@triton.jit
def _locate(x, segments, IS_PIECEWISE: tl.constexpr):
    """Return segment, position in it, and the rate of that position; divisions are rounded as torch's on the CPU."""
    if IS_PIECEWISE:
        count = segments.to(tl.float32)
        place = ((x + 1.0) / 2.0) * count
        # NaN lies in the first segment, since a comparison with it is false.
        segment = tl.where(place >= count, segments - 1, tl.where(place > 0, place, 0.0).to(tl.int32))
        low = tl.div_rn(segment.to(tl.float32), count) * 2.0 - 1.0
        high = tl.div_rn((segment + 1).to(tl.float32), count) * 2.0 - 1.0
        width = high - low
        local = 2.0 * tl.div_rn(x - low, width) - 1.0
        rate = tl.div_rn(tl.full(x.shape, 2.0, tl.float32), width)
    else:
        segment = tl.zeros(x.shape, tl.int32)
        local = x
        rate = tl.full(x.shape, 1.0, tl.float32)
    return segment, local, rate


@triton.jit
def _value(local, nodes, factors, number, NODES: tl.constexpr):
    """Return the value of one basis polynomial: exactly zero at every node but its own."""
    value = tl.full(local.shape, 1.0, tl.float32)
    for other in tl.static_range(NODES):
        distance = 2.0 * (local - tl.load(nodes + other))
        value = value * tl.where(number == other, 1.0, distance)
    return value * tl.load(factors + number)


@triton.jit
def _slope(local, nodes, factors, number, NODES: tl.constexpr):
    """Return the derivative of one basis polynomial, by the product rule."""
    value = tl.full(local.shape, 1.0, tl.float32)
    slope = tl.zeros(local.shape, tl.float32)
    for other in tl.static_range(NODES):
        distance = 2.0 * (local - tl.load(nodes + other))
        slope = tl.where(number == other, slope, slope * distance + 2.0 * value)
        value = tl.where(number == other, value, value * distance)
    return slope * tl.load(factors + number)


@triton.jit(do_not_specialize=SIZES)
def forward(
    x_at, table, nodes, factors, output, num_rows, num_inputs, num_outputs, num_weights, segments, stride,
    NODES: tl.constexpr, IS_PIECEWISE: tl.constexpr, ROWS: tl.constexpr, INPUTS: tl.constexpr, OUTPUTS: tl.constexpr,
):  # fmt: skip
    """Write the outputs [batch, out] of a block of rows and a block of outputs."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    outputs = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)
    is_row, is_output = rows < num_rows, outputs < num_outputs
    total = tl.zeros([ROWS, OUTPUTS], tl.float32)
    for begin in range(0, num_inputs, INPUTS):
        numbers = begin + tl.arange(0, INPUTS)
        is_input = numbers < num_inputs
        at_x = rows.to(tl.int64)[:, None] * num_inputs + numbers[None, :]
        x = tl.load(x_at + at_x, mask=is_row[:, None] & is_input[None, :], other=0.0)
        segment, local, _ = _locate(x, segments, IS_PIECEWISE)
        first = numbers[None, :] * num_weights + segment * stride
        for node in tl.static_range(NODES):
            value = _value(local, nodes, factors, node, NODES)
            at = (first + node)[:, :, None] * num_outputs + outputs[None, None, :]
            inside = is_input[None, :, None] & is_output[None, None, :]
            total += tl.sum(value[:, :, None] * tl.load(table + at, mask=inside, other=0.0), axis=1)
    to = rows.to(tl.int64)[:, None] * num_outputs + outputs[None, :]
    tl.store(output + to, total, mask=is_row[:, None] & is_output[None, :])


@triton.jit(do_not_specialize=SIZES)
def backward_inputs(
    x_at, table, nodes, factors, grad, grad_x, num_rows, num_inputs, num_outputs, num_weights, segments, stride,
    NODES: tl.constexpr, IS_PIECEWISE: tl.constexpr, ROWS: tl.constexpr, OUTPUTS: tl.constexpr,
):  # fmt: skip
    """Write the gradient to one input of a block of rows."""
    rows, number = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.program_id(1)
    is_row = rows < num_rows
    at_x = rows.to(tl.int64) * num_inputs + number
    x = tl.load(x_at + at_x, mask=is_row, other=0.0)
    segment, local, rate = _locate(x, segments, IS_PIECEWISE)
    first = number * num_weights + segment * stride
    total = tl.zeros([ROWS], tl.float32)
    for begin in range(0, num_outputs, OUTPUTS):
        outputs = begin + tl.arange(0, OUTPUTS)
        is_output = outputs < num_outputs
        of_rows = rows.to(tl.int64)[:, None] * num_outputs + outputs[None, :]
        given = tl.load(grad + of_rows, mask=is_row[:, None] & is_output[None, :], other=0.0)
        for node in tl.static_range(NODES):
            at = (first + node)[:, None] * num_outputs + outputs[None, :]
            weights = tl.load(table + at, mask=is_output[None, :], other=0.0)
            total += _slope(local, nodes, factors, node, NODES) * tl.sum(given * weights, axis=1)
    tl.store(grad_x + at_x, total * rate, mask=is_row)


@triton.jit(do_not_specialize=SIZES)
def backward_table(
    x_at, nodes, factors, grad, parts, num_rows, num_inputs, num_outputs, num_weights, segments, stride,
    NODES: tl.constexpr, IS_PIECEWISE: tl.constexpr, ROWS: tl.constexpr, WEIGHTS: tl.constexpr, OUTPUTS: tl.constexpr,
):  # fmt: skip
    """Write a part's share of the gradient to a block of one input's weights, from every so many-th block of rows.

    Parts are added afterwards in their order, so that a training gives the same numbers twice, which atomics would not.
    """
    part, num_parts, number = tl.program_id(0), tl.num_programs(0), tl.program_id(1)
    num_blocks = tl.cdiv(num_outputs, OUTPUTS)
    weights = (tl.program_id(2) // num_blocks) * WEIGHTS + tl.arange(0, WEIGHTS)
    outputs = (tl.program_id(2) % num_blocks) * OUTPUTS + tl.arange(0, OUTPUTS)
    is_output = outputs < num_outputs
    total = tl.zeros([WEIGHTS, OUTPUTS], tl.float32)
    for begin in range(part * ROWS, num_rows, num_parts * ROWS):
        rows = begin + tl.arange(0, ROWS)
        is_row = rows < num_rows
        x = tl.load(x_at + rows.to(tl.int64) * num_inputs + number, mask=is_row, other=0.0)
        segment, local, _ = _locate(x, segments, IS_PIECEWISE)
        spread = tl.zeros([WEIGHTS, ROWS], tl.float32)
        for node in tl.static_range(NODES):
            value = _value(local, nodes, factors, node, NODES)
            is_weight = weights[:, None] == (segment * stride + node)[None, :]
            spread = tl.where(is_weight, value[None, :], spread)
        of_rows = rows.to(tl.int64)[:, None] * num_outputs + outputs[None, :]
        given = tl.load(grad + of_rows, mask=is_row[:, None] & is_output[None, :], other=0.0)
        total += tl.dot(spread, given, input_precision="ieee")
    to = ((part * num_inputs + number) * num_weights + weights)[:, None] * num_outputs + outputs[None, :]
    tl.store(parts + to, total, mask=(weights < num_weights)[:, None] & is_output[None, :])


@triton.jit(do_not_specialize=("num_rows", "width"))
def max_abs_forward(x_at, output, num_rows, width, eps, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Write rows divided by their largest magnitude."""
    rows, columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    at = rows.to(tl.int64)[:, None] * width + columns[None, :]
    inside = (rows < num_rows)[:, None] & (columns < width)[None, :]
    x = tl.load(x_at + at, mask=inside, other=0.0)
    # A row with a NaN becomes NaN, as in torch, whatever `max` makes of it.
    spoilt = tl.sum((x != x).to(tl.int32), axis=1) > 0
    divisor = tl.where(spoilt, float("nan"), tl.max(tl.abs(x), axis=1) + eps)
    tl.store(output + at, tl.div_rn(x, tl.broadcast_to(divisor[:, None], x.shape)), mask=inside)


@triton.jit(do_not_specialize=("num_rows", "width"))
def max_abs_backward(x_at, grad, grad_x, num_rows, width, eps, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Write the gradient to the rows; of equal magnitudes the first one gets that of the divisor."""
    rows, columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    at = rows.to(tl.int64)[:, None] * width + columns[None, :]
    inside = (rows < num_rows)[:, None] & (columns < width)[None, :]
    x, given = tl.load(x_at + at, mask=inside, other=0.0), tl.load(grad + at, mask=inside, other=0.0)
    magnitude = tl.abs(x)
    divisor = tl.max(magnitude, axis=1) + eps
    largest = tl.argmax(magnitude, axis=1)
    to_divisor = -tl.sum(given * x, axis=1) / (divisor * divisor)
    sign = tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, 0.0))
    of_largest = tl.where(columns[None, :] == largest[:, None], sign * to_divisor[:, None], 0.0)
    tl.store(grad_x + at, given / divisor[:, None] + of_largest, mask=inside)
