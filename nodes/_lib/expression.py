"""Arithmetic from text that is not trusted: a closed list of names, functions and sizes, and nothing else.

The text is parsed, every element of the tree is held against the list, and a new tree is built from what was allowed.
Only that tree is compiled, without builtins. Numbers become floats, so that nothing can be folded into a huge integer.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import CodeType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_LENGTH = 500
MAX_ELEMENTS = 200
MAX_DEPTH = 60
MAX_POWER = 8
NUMEXPR_FROM = 50_000
"""Length of array from which numexpr is faster than numpy (measured: about equal at 30,000 to 50,000)."""

FORBIDDEN_CHARACTER = re.compile(r"[^A-Za-z0-9_.,+\-*/()<>=! ]")
OPERATORS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
FUNCTIONS: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "ceil": lambda x: float(math.ceil(x)),
    "cos": math.cos,
    "exp": math.exp,
    "expm1": math.expm1,
    "floor": lambda x: float(math.floor(x)),
    "log": math.log,
    "log10": math.log10,
    "log1p": math.log1p,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
    "tanh": math.tanh,
}
"""Functions of one number. `min`, `max` (two or more) and `where(condition, then, otherwise)` come on top."""
NAMES_OF_FUNCTIONS = (*FUNCTIONS, "min", "max", "where")
SCALAR_NAMES = {"__builtins__": {}, "pow": math.pow, "min": min, "max": max, **FUNCTIONS}
ARRAY_NAMES = {
    "__builtins__": {},
    "where": np.where,
    "minimum": np.minimum,
    "maximum": np.maximum,
    **{name: getattr(np, name) for name in FUNCTIONS},
}
IN_WORDS = {
    "Attribute": "an attribute of something that is not an input",
    "Subscript": "an index",
    "IfExp": "if ... else (write where(condition, then, otherwise))",
    "FloorDiv": "the operator // (write floor(x / y))",
    "Pow": "a power",
}


class ExpressionError(ValueError):
    """The text is no allowed expression. `column` counts from 1; the text and a caret are part of the message."""

    def __init__(self, text: str, column: int, reason: str) -> None:
        self.column = column
        self.reason = reason
        super().__init__(f"expression, column {column}: {reason}\n  {text}\n  {' ' * (column - 1)}^")


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression. `variables` are the names it reads (`a.price`), in order of first use."""

    text: str
    variables: tuple[str, ...]
    array_text: str = field(repr=False)
    """The same expression over v0, v1, ... in the words of numpy and numexpr."""
    _scalar: Callable[..., float] = field(repr=False)
    _array: CodeType = field(repr=False)

    def __call__(self, *values: float) -> float:
        """Return the result for one float per variable; NaN where the arithmetic has none (1/0, log(-1), overflow)."""
        try:
            return self._scalar(*values)
        except (ArithmeticError, ValueError):
            return math.nan

    def evaluate_array(self, arrays: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the result element by element, for one array of equal shape per variable (float64).

        Where a scalar would be NaN because a step failed, an array follows IEEE 754: 1/0 is infinite, and dividing by
        that gives 0. From NUMEXPR_FROM elements on numexpr does the work. Raises KeyError for a missing variable.
        """
        values = {f"v{index}": np.asarray(arrays[name], np.float64) for index, name in enumerate(self.variables)}
        shape = np.broadcast_shapes(*(value.shape for value in values.values()))
        if math.prod(shape) >= NUMEXPR_FROM:
            import numexpr

            result = numexpr.evaluate(self.array_text, local_dict=values, global_dict={})
        else:
            with np.errstate(all="ignore"):
                result = eval(self._array, ARRAY_NAMES, values)
        return np.broadcast_to(np.asarray(result, np.float64), shape)


def parse_expression(text: str, names: Mapping[str, Collection[str] | None]) -> Expression:
    """Check `text` and compile it; raise ExpressionError at the first thing that is not allowed.

    `names` maps what may be read to its fields: `{"x": ()}` allows the plain `x`, `{"a": ("price",)}` allows
    `a.price`, and `{"a": None}` any one field of `a`, for when the fields are not known yet.
    """
    text = " ".join(text.split())
    tree = _parsed(text)
    checked = _Checker(text, names)
    term = checked.number(tree)
    variables = tuple(checked.variables)
    if not variables:
        raise ExpressionError(text, 1, "reads no input; a constant needs no expression")
    arguments = ast.arguments([], [ast.arg(f"v{index}") for index in range(len(variables))], None, [], [], None, [])
    scalar = ast.fix_missing_locations(ast.Expression(ast.Lambda(arguments, term.scalar)))
    array_text = ast.unparse(ast.fix_missing_locations(term.array))
    return Expression(
        text=text,
        variables=variables,
        array_text=array_text,
        _scalar=eval(compile(scalar, "<expression>", "eval"), dict(SCALAR_NAMES)),
        _array=compile(array_text, "<expression>", "eval"),
    )


def _parsed(text: str) -> ast.expr:
    if not text:
        raise ExpressionError(text, 1, "is empty; write something like a.price / b.rate")
    if len(text) > MAX_LENGTH:
        shown = text[:60] + "..."
        raise ExpressionError(shown, 1, f"has {len(text)} characters, at most {MAX_LENGTH} are allowed")
    if odd := FORBIDDEN_CHARACTER.search(text):
        raise ExpressionError(text, odd.start() + 1, f"{odd[0]!r} has no meaning here")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        # Python gives no column, or one beyond the text, where something is missing at the end.
        column = error.offset if error.offset and error.offset <= len(text) else len(text) + 1
        raise ExpressionError(text, column, error.msg) from None
    except (MemoryError, RecursionError, ValueError):
        raise ExpressionError(text, 1, "is nested too deep") from None
    elements = sum(not isinstance(item, ast.expr_context) for item in ast.walk(tree))
    if elements > MAX_ELEMENTS:
        raise ExpressionError(text, 1, f"has {elements} elements, at most {MAX_ELEMENTS} are allowed")
    return tree


class _Term(NamedTuple):
    """A checked part, rebuilt for floats and for arrays."""

    scalar: ast.expr
    array: ast.expr

    @property
    def constant(self) -> bool:
        return not any(isinstance(item, ast.Name) and item.id.startswith("v") for item in ast.walk(self.scalar))


class _Checker:
    """Rebuilds a tree from allowed parts. Numbers and conditions are kept apart: one is never taken for the other."""

    def __init__(self, text: str, names: Mapping[str, Collection[str] | None]) -> None:
        self.text = text
        self.names = names
        self.variables: dict[str, int] = {}
        self.depth = 0

    def error(self, node: ast.AST, reason: str) -> ExpressionError:
        return ExpressionError(self.text, getattr(node, "col_offset", 0) + 1, reason)

    def number(self, node: ast.expr) -> _Term:
        self._enter(node)
        match node:
            case ast.Constant():
                term = self._constant(node)
            case ast.Name() | ast.Attribute():
                term = self._variable(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                term = self._unary(node.op, self.number(node.operand))
            case ast.BinOp(op=ast.Pow()):
                term = self._power(node)
            case ast.BinOp() if type(node.op) in OPERATORS:
                left, right = self.number(node.left), self.number(node.right)
                term = _Term(*(ast.BinOp(a, node.op, b) for a, b in zip(left, right, strict=True)))
            case ast.Call():
                term = self._call(node)
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                raise self.error(node, "a condition is no number; write where(condition, 1, 0)")
            case _:
                raise self.error(node, f"{_in_words(node)} is not allowed")
        self.depth -= 1
        return self._folded(node, term) if term.constant else term

    def condition(self, node: ast.expr) -> _Term:
        self._enter(node)
        match node:
            case ast.Compare(ops=[op]) if isinstance(op, COMPARISONS):
                left, right = self.number(node.left), self.number(node.comparators[0])
                term = _Term(*(ast.Compare(a, [op], [b]) for a, b in zip(left, right, strict=True)))
            case ast.Compare(ops=[_, _, *_]):
                raise self.error(node, "one comparison at a time; write x < y and y < z")
            case ast.BoolOp():
                parts = [self.condition(value) for value in node.values]
                joined = parts[0].array
                for part in parts[1:]:
                    bits = ast.BitAnd() if isinstance(node.op, ast.And) else ast.BitOr()
                    joined = ast.BinOp(joined, bits, part.array)
                term = _Term(ast.BoolOp(node.op, [part.scalar for part in parts]), joined)
            case ast.UnaryOp(op=ast.Not()):
                part = self.condition(node.operand)
                term = _Term(ast.UnaryOp(ast.Not(), part.scalar), ast.UnaryOp(ast.Invert(), part.array))
            case _:
                raise self.error(node, "needs a condition, as in a.price > 0")
        self.depth -= 1
        if term.constant:
            raise self.error(node, "is always the same, as it reads no input; leave where() out")
        return term

    def _folded(self, node: ast.expr, term: _Term) -> _Term:
        # Parts without an input become one number here: numpy and numexpr would compute them by other rules.
        if isinstance(term.scalar, ast.Constant):
            return term
        code = compile(ast.fix_missing_locations(ast.Expression(term.scalar)), "<constant>", "eval")
        try:
            value = _as_float(eval(code, dict(SCALAR_NAMES)))
        except (ArithmeticError, ValueError):
            value = None
        if value is None:
            raise self.error(node, "has no finite value")
        return _Term(ast.Constant(value), ast.Constant(value))

    def _enter(self, node: ast.expr) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(node, f"is nested more than {MAX_DEPTH} deep")

    def _constant(self, node: ast.Constant) -> _Term:
        value = _as_float(node.value)
        if value is None:
            shown = repr(node.value)
            raise self.error(node, f"{shown if len(shown) <= 30 else shown[:30] + '...'} is no finite number")
        return _Term(ast.Constant(value), ast.Constant(value))

    def _variable(self, node: ast.Name | ast.Attribute) -> _Term:
        owner = node.value if isinstance(node, ast.Attribute) else node
        if not isinstance(owner, ast.Name):
            raise self.error(node, "only input.field is allowed")
        if owner.id not in self.names:
            choices = [*self.names, *NAMES_OF_FUNCTIONS]
            raise self.error(owner, _unknown("name", owner.id, choices, f"the names are: {', '.join(self.names)}"))
        fields, name = self.names[owner.id], owner.id
        if isinstance(node, ast.Attribute):
            if node.attr.startswith("_"):
                raise self.error(node, f"{node.attr!r} is private")
            if fields is not None and node.attr not in fields:
                listed = f"its fields are: {', '.join(fields) or 'none'}"
                raise self.error(node, _unknown(f"field of {name!r}", node.attr, fields, listed))
            name = f"{name}.{node.attr}"
        elif fields is None or fields:
            raise self.error(node, f"{name!r} is an input; name one of its fields, as in {name}.price")
        index = self.variables.setdefault(name, len(self.variables))
        return _Term(ast.Name(f"v{index}", ast.Load()), ast.Name(f"v{index}", ast.Load()))

    def _unary(self, op: ast.unaryop, inner: _Term) -> _Term:
        return _Term(ast.UnaryOp(op, inner.scalar), ast.UnaryOp(op, inner.array))

    def _power(self, node: ast.BinOp) -> _Term:
        exponent, sign = node.right, 1.0
        if isinstance(exponent, ast.UnaryOp) and isinstance(exponent.op, ast.USub):
            exponent, sign = exponent.operand, -1.0
        value = _as_float(exponent.value) if isinstance(exponent, ast.Constant) else None
        if value is None or value > MAX_POWER:
            raise self.error(node.right, f"a power needs a constant exponent from -{MAX_POWER} to {MAX_POWER}")
        base, constant = self.number(node.left), ast.Constant(sign * value)
        return _Term(_called("pow", base.scalar, constant), ast.BinOp(base.array, ast.Pow(), constant))

    def _call(self, node: ast.Call) -> _Term:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in NAMES_OF_FUNCTIONS:
            listed = f"the functions are: {', '.join(NAMES_OF_FUNCTIONS)}"
            raise self.error(
                node.func, _unknown("function", name or ast.unparse(node.func), NAMES_OF_FUNCTIONS, listed)
            )
        if node.keywords:
            raise self.error(node.keywords[0], f"{name} takes no named arguments")
        count = len(node.args)
        wanted = {"where": "3", "min": "2 or more", "max": "2 or more"}.get(name, "1")
        if not (count >= 2 if wanted == "2 or more" else count == int(wanted)):
            raise self.error(node, f"{name} takes {wanted} arguments, not {count}")
        if name == "where":
            test, then, otherwise = (
                self.condition(node.args[0]),
                self.number(node.args[1]),
                self.number(node.args[2]),
            )
            # The branch not taken is not evaluated, so that where(b.rate > 0, a.price / b.rate, 0) is safe.
            scalar = ast.IfExp(test.scalar, then.scalar, otherwise.scalar)
            return _Term(scalar, _called("where", test.array, then.array, otherwise.array))
        terms = [self.number(argument) for argument in node.args]
        if name in FUNCTIONS:
            return _Term(_called(name, terms[0].scalar), _called(name, terms[0].array))
        array = terms[0].array
        for term in terms[1:]:
            array = _called(f"{name}imum", array, term.array)
        return _Term(_called(name, *(term.scalar for term in terms)), array)


def _called(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _as_float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _unknown(kind: str, word: str, known: Collection[str], listed: str) -> str:
    near = get_close_matches(word, known, 1, 0.6)
    return f"there is no {kind} {word!r}; " + (f"did you mean {near[0]!r}?" if near else listed)


def _in_words(node: ast.expr) -> str:
    name = type(node.op).__name__ if isinstance(node, ast.BinOp) else type(node).__name__
    return IN_WORDS.get(name, name)
