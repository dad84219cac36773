"""Random expressions: the allowed ones equal Python's own floats, everything else is refused without running."""

from __future__ import annotations

import ast
import math
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes._lib.expression import NAMES_OF_FUNCTIONS, ExpressionError, parse_expression

NAMES = {"x": (), "y": ()}
numbers = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False).map(lambda value: f"{abs(value):.6g}")
leaves = st.one_of(numbers, st.sampled_from(["x", "y"]), st.integers(0, 1000).map(str))


def _grown(parts):
    pair = st.tuples(parts, parts)
    comparison = st.builds("{0} {1} {2}".format, parts, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), parts)
    return st.one_of(
        st.builds("({0[0]} {1} {0[1]})".format, pair, st.sampled_from("+-*/")),
        st.builds("(-{})".format, parts),
        st.builds("({} ** {})".format, parts, st.sampled_from(["2", "3", "0.5", "-1", "8"])),
        st.builds("{}({})".format, st.sampled_from(["abs", "sqrt", "exp", "log", "tanh", "floor"]), parts),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), parts, parts),
        st.builds("where({}, {}, {})".format, comparison, parts, parts),
        st.builds("where({} and not {}, {}, {})".format, comparison, comparison, parts, parts),
    )


expressions = st.recursive(leaves, _grown, max_leaves=12)
values = st.floats(min_value=-100, max_value=100)


class _AsPython(ast.NodeTransformer):
    """Turn the format's words into Python's: where(c, t, f) is `t if c else f`, and whole numbers are floats."""

    def visit_Call(self, node):
        self.generic_visit(node)
        return ast.IfExp(*node.args) if node.func.id == "where" else node

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if isinstance(node.op, ast.Pow):
            return ast.Call(ast.Name("real_power", ast.Load()), [node.left, node.right], [])
        return node

    def visit_Constant(self, node):
        return ast.Constant(float(node.value))


def _real_power(base, exponent):
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError("a root of a negative number")
    return result


def _python(text, x, y):
    tree = ast.fix_missing_locations(_AsPython().visit(ast.parse(text, mode="eval")))
    names = {"abs": abs, "min": min, "max": max, "real_power": _real_power, "x": x, "y": y}
    names.update({name: getattr(math, name) for name in ("sqrt", "exp", "log", "tanh")})
    names["floor"] = lambda value: float(math.floor(value))
    try:
        return eval(compile(tree, "reference", "eval"), names)
    except (ArithmeticError, ValueError):
        return math.nan


@given(expressions, values, values)
@settings(max_examples=150, deadline=None)
def test_scalars_equal_pythons_floats(text, x, y):
    try:
        expression = parse_expression(text, NAMES)
    except ExpressionError as error:
        assert error.reason.startswith(("reads no input", "has ", "is nested", "is always the same"))
        return
    expected = _python(text, x, y)
    given_values = [{"x": x, "y": y}[name] for name in expression.variables]
    result = expression(*given_values)
    assert result == expected or (math.isnan(result) and math.isnan(expected))


@given(expressions, st.lists(st.tuples(values, values), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_arrays_equal_scalars(text, rows):
    try:
        expression = parse_expression(text, NAMES)
    except ExpressionError:
        return
    columns = {"x": np.array([x for x, _ in rows]), "y": np.array([y for _, y in rows])}
    arrays = expression.evaluate_array({name: columns[name] for name in expression.variables})
    for index, result in enumerate(np.broadcast_to(arrays, (len(rows),))):
        scalar = expression(*(float(columns[name][index]) for name in expression.variables))
        if math.isfinite(scalar):
            np.testing.assert_allclose(result, scalar, rtol=1e-9, atol=1e-12)


words = ["x", "y", "a", "os", "1", "2.5", "9", "(", ")", "+", "-", "**", "*", "/", "//", "%", "<", ">", "==", ",", ".",
         "[", "]", "{", "}", ":", ":=", "=", "'s'", '"', "lambda", "if", "else", "for", "in", "and", "or", "not", "is",
         "__import__", "__class__", "eval", "exec", "open", "print", "f'", "real", "\\", "@", "~", "&", "|", "^",
         "await", *NAMES_OF_FUNCTIONS]  # fmt: skip


@given(st.lists(st.sampled_from(words), max_size=30).map(" ".join) | st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_nothing_outside_the_list_is_ever_executed(text):
    try:
        expression = parse_expression(text, NAMES)
    except ExpressionError:
        return
    allowed = {*NAMES_OF_FUNCTIONS, "pow"}
    code = expression._scalar.__code__
    assert set(code.co_names) <= allowed
    assert all(isinstance(constant, float | type(None)) for constant in code.co_consts)
    tree = ast.parse(expression.array_text, mode="eval")
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert called <= {*NAMES_OF_FUNCTIONS, "minimum", "maximum"}
    assert not any(isinstance(node, ast.Attribute | ast.Subscript | ast.Lambda) for node in ast.walk(tree))


@given(expressions)
@settings(max_examples=40, deadline=None)
def test_evaluation_calls_nothing_but_arithmetic(text):
    try:
        expression = parse_expression(text, NAMES)
    except ExpressionError:
        return
    allowed = {"sqrt", "exp", "log", "tanh", "floor", "abs", "min", "max", "pow"}
    called = []

    def watch(frame, event, argument):
        if event == "c_call":
            called.append(argument.__name__)

    sys.setprofile(watch)
    try:
        expression._scalar(*(1.0 for _ in expression.variables))
    except (ArithmeticError, ValueError):
        pass
    finally:
        sys.setprofile(None)
    assert set(called) - {"setprofile"} <= allowed
