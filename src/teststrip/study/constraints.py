"""Constraints such as `steps * (2 if guidance > 1 else 1) <= 60`: read as a tree, never run.

Accepted: numbers, strings, lists, True/False/None, the recipe's fields and `model_calls`,
+ - * / // %, comparisons, `in`, `and`, `or`, `not`, `a if test else b`. Anything else (calls,
attributes, subscripts, powers, comprehensions) is refused when the study file is read.
"""

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

from teststrip.errors import ConfigError

MAX_CHARS = 400
MAX_NODES = 200
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, box: item in box,
    ast.NotIn: lambda item, box: item not in box,
}
_SHAPES = (
    ast.Expression,
    ast.BoolOp,
    ast.And,
    ast.Or,
    ast.UnaryOp,
    ast.Not,
    ast.USub,
    ast.UAdd,
    ast.BinOp,
    ast.Compare,
    ast.IfExp,
    ast.Constant,
    ast.Name,
    ast.Load,
    ast.Tuple,
    ast.List,
    *_BINARY,
    *_COMPARE,
)
_CONSTANTS = (bool, int, float, str, type(None))


class Constraint:
    """One constraint; `holds` says whether a recipe keeps it.

    Raises ValueError for anything that is not on the list of accepted shapes and names.
    """

    def __init__(self, text: str, names: Collection[str]) -> None:
        self.text = text
        if len(text) > MAX_CHARS:
            raise ValueError(f"longer than {MAX_CHARS} characters")
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
            raise ValueError(f"{text!r} is no expression") from exc
        nodes = list(ast.walk(tree))
        if len(nodes) > MAX_NODES:
            raise ValueError(f"{text!r} has more than {MAX_NODES} parts")
        for node in nodes:
            self._check(node, names)
        if not any(isinstance(node, ast.Name) for node in nodes):
            raise ValueError(f"{text!r} names no recipe field")
        self._body = tree.body

    def _check(self, node: ast.AST, names: Collection[str]) -> None:
        if not isinstance(node, _SHAPES):
            raise ValueError(  # noqa: TRY004 - pydantic collects ValueError
                f"{self.text!r}: {type(node).__name__} is not accepted; write comparisons and "
                "arithmetic on recipe fields"
            )
        if isinstance(node, ast.Constant) and not isinstance(node.value, _CONSTANTS):
            raise ValueError(f"{self.text!r}: {node.value!r} is not accepted")  # noqa: TRY004
        if isinstance(node, ast.Name) and node.id not in names:
            raise ValueError(
                f"{self.text!r}: unknown name {node.id!r}; accepted: {', '.join(sorted(names))}"
            )

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Is it true for these values? Raises ConfigError if it cannot be worked out."""
        try:
            return bool(_value(self._body, values))
        except (TypeError, ArithmeticError) as exc:
            raise ConfigError(f"constraint {self.text!r} cannot be worked out: {exc}") from exc


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:  # noqa: PLR0911 - one a shape
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return values[node.id]
        case ast.Tuple() | ast.List():
            return [_value(item, values) for item in node.elts]
        case ast.IfExp():
            return _value(node.body if _value(node.test, values) else node.orelse, values)
        case ast.BoolOp():
            stops_at = isinstance(node.op, ast.Or)
            return next(
                (stops_at for item in node.values if bool(_value(item, values)) is stops_at),
                not stops_at,
            )
        case ast.UnaryOp(op=ast.Not()):
            return not _value(node.operand, values)
        case ast.UnaryOp():
            value = _number(_value(node.operand, values))
            return -value if isinstance(node.op, ast.USub) else value
        case ast.BinOp():
            left, right = (_number(_value(side, values)) for side in (node.left, node.right))
            return _BINARY[type(node.op)](left, right)
        case ast.Compare():
            left = _value(node.left, values)
            for op, side in zip(node.ops, node.comparators, strict=True):
                right = _value(side, values)
                if not _COMPARE[type(op)](left, right):
                    return False
                left = right
            return True
    raise AssertionError(type(node))


def _number(value: Any) -> float:
    """Arithmetic is for numbers only: 'a' * 10**9 would fill the memory."""
    if not isinstance(value, int | float):
        raise TypeError(f"arithmetic needs numbers, got {value!r}")
    return value
