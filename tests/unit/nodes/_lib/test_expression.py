"""Expressions: what is refused, where the error points, and that scalars and arrays agree."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from nodes._lib.expression import MAX_LENGTH, NUMEXPR_FROM, ExpressionError, parse_expression

NAMES = {"a": None, "b": ("price", "rate"), "x": ()}

ATTACKS = [
    "9**9**9",
    "((9**8)**8)**8",
    "((((x**8)**8)**8)**8)**99",
    "'a'*1000000000",
    "x.real.imag",
    "a.__class__",
    "a.price.__class__",
    "(a.price).__class__.__mro__",
    "__import__('os').system('true')",
    "__builtins__",
    "open(x)",
    "eval(x)",
    "a.price(x)",
    "(lambda: 1)()",
    "[x for x in x]",
    "x[0]",
    "{x}",
    "x if x else x",
    "f'{x}'",
    "(x := 1)",
    "x; import os",
    "ｅｖａｌ(x)",
    "x\x00",
    "max(*x)",
    "sqrt(x=x)",
    "x @ x",
    "x % 2",
    "x << 9",
    "~x",
    "(" * 240 + "x" + ")" * 240,
    "-" * 490 + "x",
    "x+" * 200 + "x",
    "x" * 100_000,
    "9" * 499,
    "1e999 + x",
    "1j * x",
    "True + x",
    "x ** x",
    "x ** 9",
    "2 ** -9 + x",
    "await x",
    "yield x",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_attacks_are_refused_at_once(text):
    started = time.perf_counter()
    with pytest.raises(ExpressionError):
        parse_expression(text, NAMES)
    assert time.perf_counter() - started < 0.1


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("x + sqr(x)", 5, "there is no function 'sqr'; did you mean 'sqrt'?"),
        ("x / b.rat", 5, "there is no field of 'b' 'rat'; did you mean 'rate'?"),
        ("x + y", 5, "there is no name 'y'"),
        ("x + b", 5, "'b' is an input; name one of its fields"),
        ("where(x, 1, 2)", 7, "needs a condition"),
        ("where(1 < x < 2, 1, 2)", 7, "one comparison at a time"),
        ("x < 1", 1, "a condition is no number"),
        ("x + min(x)", 5, "min takes 2 or more arguments, not 1"),
        ("x // 2", 1, "write floor(x / y)"),
        ("1 + 2", 1, "reads no input"),
        ("x + 1 / 0", 5, "has no finite value"),
        ("x + (-1) ** 0.5", 5, "has no finite value"),
        ("where(1 < 2, x, 0)", 7, "is always the same"),
        ("where(x > 0 and not 1 < 2, x, 0)", 21, "is always the same"),
        ("", 1, "is empty"),
        ("x +", 4, "invalid syntax"),
        ("x + $", 5, "'$' has no meaning here"),
        ("x" * (MAX_LENGTH + 1), 1, "characters"),
    ],
)
def test_errors_say_where_and_what_to_do(text, column, words):
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text, NAMES)
    assert caught.value.column == column
    assert words in caught.value.reason
    assert str(caught.value).splitlines()[-1] == "  " + " " * (column - 1) + "^"


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("a.price / b.rate", (10.0, 4.0), 2.5),
        ("a.price - a.price + b.rate", (10.0, 4.0), 4.0),
        ("-x ** 2", (3.0,), -9.0),
        ("x ** -2", (4.0,), 1 / 16),
        ("x ** 0.5", (9.0,), 3.0),
        ("min(x, 2, 5) + max(x, 2)", (3.0,), 5.0),
        ("where(x > 0, 1 / x, 0)", (0.0,), 0.0),
        ("where(x >= 1 and not x == 2 or x < -5, 1, 0)", (2.0,), 0.0),
        ("floor(x) + ceil(x)", (1.5,), 3.0),
        ("log(exp(x)) + log1p(expm1(x)) + log10(x) + abs(-x)", (1.0,), 3.0),
        ("x\n  + 1", (1.0,), 2.0),
        ("0.1 + x", (0.2,), 0.1 + 0.2),
        ("x + (-1) ** 2 * (2 - 5) ** 3", (0.0,), -27.0),
    ],
)
def test_values(text, values, expected):
    expression = parse_expression(text, NAMES)
    assert expression(*values) == pytest.approx(expected, rel=1e-15)
    arrays = {name: np.full(3, value) for name, value in zip(expression.variables, values, strict=True)}
    assert expression.evaluate_array(arrays) == pytest.approx([expected] * 3, rel=1e-12)


@pytest.mark.parametrize("text", ["1 / x", "log(x)", "sqrt(x - 1)", "exp(1000 - x)", "(x - 1) ** 0.5", "x / x"])
def test_what_has_no_result_is_nan_or_infinite(text):
    expression = parse_expression(text, NAMES)
    assert math.isnan(expression(0.0))
    assert not np.isfinite(expression.evaluate_array({"x": np.zeros(2)})).any()


def test_numexpr_and_numpy_agree():
    expression = parse_expression("where(x > 0.5, log(x) * 2, sqrt(x)) + min(x, a.price) ** 3", NAMES)
    random = np.random.default_rng(1)
    arrays = {name: random.random(NUMEXPR_FROM) for name in expression.variables}
    large = expression.evaluate_array(arrays)
    halves = [expression.evaluate_array({n: v[s] for n, v in arrays.items()}) for s in (slice(0, 9), slice(9, 20))]
    assert large.shape == (NUMEXPR_FROM,)
    np.testing.assert_allclose(large[:20], np.concatenate(halves), rtol=1e-13)


def test_numexpr_never_sees_the_callers_variables():
    expression = parse_expression("x * 2", NAMES)
    v0 = "a local of the same name"
    assert expression.evaluate_array({"x": np.ones(NUMEXPR_FROM)})[0] == 2.0, v0
    with pytest.raises(KeyError):
        expression.evaluate_array({"y": np.ones(3)})


def test_variables_are_listed_once_in_order_of_use():
    assert parse_expression("b.rate * a.price + b.rate", NAMES).variables == ("b.rate", "a.price")
