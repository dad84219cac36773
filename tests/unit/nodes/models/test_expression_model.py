"""The expression node: when it sends, what it withholds, and what it refuses."""

from __future__ import annotations

import pytest

from engine.testing import run_node
from nodes.messages import Book, Conversion, Value
from nodes.models.expression import ExpressionModel, check_fields, readable_fields


def book(bid: float, ask: float, time_ns: int = 1) -> Book:
    return Book("ETH-USDT-PERP", time_ns, time_ns, bid, 1.0, ask, 1.0)


def rate(value: float, time_ns: int = 1) -> Conversion:
    return Conversion("USDT", "USD", time_ns, value, 10**18)


def test_sends_once_all_inputs_have_spoken_and_then_on_each_message():
    node = run_node(ExpressionModel, expression="a.mid * b.rate", name="mid in USD")
    assert node.on_a(book(99, 101, 5)) == []
    assert node.on_b(rate(0.5, 3)) == [("value", Value(5, 50.0, "mid in USD"))]
    assert node.on_a(book(199, 201, 7)) == [("value", Value(7, 100.0, "mid in USD"))]


def test_inputs_that_are_not_read_are_left_alone():
    node = run_node(ExpressionModel, expression="a.bid_price + 1")
    assert node.on_b(rate(2.0)) == []
    assert node.on_a(book(1, 2)) == [("value", Value(1, 2.0))]


def test_withholds_and_counts_what_is_not_finite():
    node = run_node(ExpressionModel, expression="min(a.bid_price / b.rate, 7)")
    node.on_a(book(1, 2))
    assert node.on_b(rate(0.0)) == []
    assert node.on_b(rate(float("nan"))) == []
    assert node.on_b(rate(float("inf"))) == []
    assert node.node.withheld == 3
    assert node.on_b(rate(0.5)) == [("value", Value(1, 2.0))]


def test_a_stale_input_stops_the_value_until_it_speaks_again():
    node = run_node(ExpressionModel, expression="a.bid_price * b.rate")
    node.on_a(book(1, 2))
    assert node.on_b(rate(2.0))
    node.input_stale("b", "withhold")
    assert node.on_a(book(1, 2)) == []
    assert node.on_b(rate(3.0)) == [("value", Value(1, 3.0))]


def test_a_wrong_expression_fails_the_start():
    with pytest.raises(Exception, match="did you mean 'sqrt'"):
        run_node(ExpressionModel, expression="sqr(a.price)")


def test_a_wrong_field_fails_at_the_first_message():
    node = run_node(ExpressionModel, expression="a.bid_prise")
    with pytest.raises(Exception, match="did you mean 'bid_price'"):
        node.on_a(book(1, 2))
    node = run_node(ExpressionModel, expression="a.instrument + 1")
    with pytest.raises(Exception, match=r"a\.instrument is 'ETH-USDT-PERP', which is no number"):
        node.on_a(book(1, 2))


def test_fields_and_properties_can_be_read():
    assert {"bid_price", "mid", "levels"} <= set(readable_fields(Book))
    check_fields("a.mid / b.anything", "a", Book)
    with pytest.raises(ValueError, match="no field of 'a' 'sides'"):
        check_fields("a.sides", "a", Book)
