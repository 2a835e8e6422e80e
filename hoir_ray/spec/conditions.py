"""Conditions on metrics, such as `num_parameters <= 30000 and val_ssim > 0.9`, parsed and never evaluated as code."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hoir_ray.config import nearest
from hoir_ray.errors import RequestError

MAX_LENGTH = 1_000
# Known from the config alone, so a constraint on them is checked before a trial costs anything.
STATIC_METRICS = frozenset({"num_parameters"})
_MIN_VIOLATION = 1e-9  # of a limit that must not be touched and is
_COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_SCALES = {ast.Mult: operator.mul, ast.Add: operator.add, ast.Sub: operator.sub, ast.Div: operator.truediv}


@dataclass(frozen=True)
class Condition:
    """A parsed condition; `names` are the metrics it speaks of."""

    text: str
    names: frozenset[str]
    _tree: ast.expr

    def holds(self, metrics: Mapping[str, float]) -> bool:
        """Return whether the condition is true of `metrics`; False when one that it names is missing or NaN."""
        if not self.names <= metrics.keys():
            return False
        try:
            return bool(_value(self._tree, metrics))
        except ArithmeticError:  # a division by zero, or a number beyond those of floating point
            return False

    def violation(self, metrics: Mapping[str, float]) -> float:
        """Measure the violation relative to the limit; 0 where the condition holds, 1 where a metric is missing."""
        if self.holds(metrics):
            return 0.0
        if not self.names <= metrics.keys():
            return 1.0
        try:
            return max(_MIN_VIOLATION, _violation(self._tree, metrics))
        except ArithmeticError:  # a division by zero, or a number beyond those of floating point
            return 1.0

    def margin(self, metrics: Mapping[str, float]) -> float:
        """Measure the distance to the limit, relative to it: above 0 outside, below inside; NaN if unknown."""
        if not self.names <= metrics.keys():
            return math.nan
        try:
            return _margin(self._tree, metrics)
        except ZeroDivisionError:
            return math.nan


def parse_condition(text: str, *, known: frozenset[str] | None = None) -> Condition:
    """Parse comparisons of metrics and numbers, joined by and, or, not and parentheses.

    Raises:
        RequestError: Pointing at the place that is not understood, or naming the metric nearest to an unknown one.
    """
    if len(text) > MAX_LENGTH:
        raise RequestError(f"a condition is at most {MAX_LENGTH} characters long, got {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        column = getattr(error, "offset", 1) or 1
        raise RequestError(_pointing(text.strip(), column, "not understood here")) from None
    names: set[str] = set()
    _check(tree, text.strip(), names, boolean=True)
    if known is not None:
        for name in sorted(names - known):
            raise RequestError(
                f"condition '{text}': unknown metric '{name}'.{nearest(name, known)} Known: {', '.join(sorted(known))}"
            )
    return Condition(text=text.strip(), names=frozenset(names), _tree=tree)


def _check(node: ast.expr, text: str, names: set[str], *, boolean: bool) -> None:
    children: list[ast.expr] = []
    if boolean and isinstance(node, ast.BoolOp):
        children = node.values
    elif boolean and isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        children = [node.operand]
    elif boolean and isinstance(node, ast.Compare) and all(type(op) in _COMPARISONS for op in node.ops):
        children, boolean = [node.left, *node.comparators], False
    elif not boolean and isinstance(node, ast.BinOp) and type(node.op) in _SCALES:
        children = [node.left, node.right]
    elif not boolean and isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        children = [node.operand]
    elif not boolean and isinstance(node, ast.Name):
        names.add(node.id)
    elif boolean or not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
        wanted = "a comparison such as val_psnr_db > 30" if boolean else "a metric's name or a number"
        raise RequestError(_pointing(text, node.col_offset + 1, f"expected {wanted}"))
    for child in children:
        _check(child, text, names, boolean=boolean)


def _value(node: ast.expr, metrics: Mapping[str, float]) -> float:
    match node:
        case ast.BoolOp(op=ast.And()):
            return all(_value(v, metrics) for v in node.values)
        case ast.BoolOp():
            return any(_value(v, metrics) for v in node.values)
        case ast.UnaryOp(op=ast.Not()):
            return not _value(node.operand, metrics)
        case ast.UnaryOp():
            return -_value(node.operand, metrics)
        case ast.Compare():
            sides = [_value(side, metrics) for side in (node.left, *node.comparators)]
            return all(
                _COMPARISONS[type(op)](left, right)
                for op, left, right in zip(node.ops, sides[:-1], sides[1:], strict=True)
            )
        case ast.BinOp():
            return _SCALES[type(node.op)](_value(node.left, metrics), _value(node.right, metrics))
        case ast.Name():
            return metrics[node.id]
        case ast.Constant(value=int() | float() as number):
            return number
    raise AssertionError(ast.dump(node))


def _violation(node: ast.expr, metrics: Mapping[str, float]) -> float:
    match node:
        case ast.BoolOp(op=ast.And()):
            return sum(_violation(v, metrics) for v in node.values)
        case ast.BoolOp():
            return min(_violation(v, metrics) for v in node.values)
        case ast.Compare(ops=[ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE() | ast.Eq()]):
            if _value(node, metrics):
                return 0.0
            left, right = _value(node.left, metrics), _value(node.comparators[0], metrics)
            distance = abs(left - right) / (abs(right) or 1.0)
            return distance if distance < math.inf else 1.0
    return float(not _value(node, metrics))


def _margin(node: ast.expr, metrics: Mapping[str, float]) -> float:
    match node:
        case ast.BoolOp(op=ast.And()):
            return max(_margin(v, metrics) for v in node.values)
        case ast.BoolOp():
            return min(_margin(v, metrics) for v in node.values)
        case ast.UnaryOp(op=ast.Not()):
            return -_margin(node.operand, metrics)
        case ast.Compare():
            sides = [_value(side, metrics) for side in (node.left, *node.comparators)]
            return max(map(_distance, node.ops, sides[:-1], sides[1:]))
    raise AssertionError(ast.dump(node))


def _distance(comparison: ast.cmpop, left: float, right: float) -> float:
    """Of `left` beyond `right`; a comparison for equality is at best on its limit."""
    distance = (left - right) / (abs(right) or 1.0)
    match comparison:
        case ast.Lt() | ast.LtE():
            return distance
        case ast.Gt() | ast.GtE():
            return -distance
        case ast.Eq():
            return abs(distance)
    return -abs(distance)


def _pointing(text: str, column: int, complaint: str) -> str:
    return f"condition: {complaint}\n  {text}\n  {' ' * (column - 1)}^"
