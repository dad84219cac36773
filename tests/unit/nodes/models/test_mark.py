"""The mark: mid times conversion, or none."""

from __future__ import annotations

from typing import Any

import pytest
from support.markets import PERP, book

from engine.testing import NodeUnderTest, run_node
from nodes.messages import Conversion
from nodes.models.mark import MarkModel

S = 1_000_000_000


def mark(**params: Any) -> NodeUnderTest:
    return run_node(MarkModel, **{"instrument": PERP, **params})


def rate(value: float, expires_s: float = 1e6, currency: str = "USDT") -> Conversion:
    return Conversion(currency, "USD", 0, value, round(expires_s * S))


def prices(sent: list) -> list[float]:
    return [message.price for _, message in sent]


def test_mid_times_rate_is_sent_when_it_changes():
    node = mark()
    assert node.on_book(book(1999.0, 2001.0)) == []
    assert prices(node.on_rate(rate(0.999))) == [pytest.approx(1998.0)]
    assert node.on_book(book(1999.5, 2000.5)) == []
    assert prices(node.on_book(book(2000.0, 2002.0))) == [pytest.approx(2001 * 0.999)]
    assert node.on_rate(rate(0.999)) == []


def test_the_quote_itself_needs_no_rate():
    ((_, sent),) = mark(currency="USDT").on_book(book(1999.0, 2001.0))
    assert (sent.asset, sent.currency, sent.price) == ("ETH", "USDT", 2000.0)


def test_an_expired_rate_withholds_and_a_new_one_brings_the_same_price_back():
    node = mark()
    node.on_rate(rate(1.0, expires_s=10))
    assert prices(node.on_book(book(1999.0, 2001.0))) == [2000.0]
    node.at(11.0)
    assert node.on_book(book(2000.0, 2002.0, at_s=11.0)) == []
    assert prices(node.on_rate(rate(1.0, expires_s=20))) == [2001.0]


@pytest.mark.parametrize(
    "bad", [book(2001.0, 2000.0), book(2000.0, 2000.0), book(float("nan"), 1.0), book(1.0, float("inf"))]
)
def test_a_crossed_or_broken_book_withholds(bad):
    node = mark(currency="USDT")
    node.on_book(book(1999.0, 2001.0))
    assert node.on_book(bad) == []
    assert prices(node.on_book(book(1999.0, 2001.0))) == [2000.0]


def test_an_old_book_makes_no_mark():
    node = mark(book_max_age_s=5)
    node.on_book(book(1999.0, 2001.0))
    node.at(6.0)
    assert node.on_rate(rate(1.0)) == []


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_no_rate_withholds(value):
    node = mark()
    node.on_rate(rate(1.0))
    node.on_book(book())
    assert node.on_rate(rate(value)) == []
    assert node.on_book(book(1999.0, 2001.0)) == []


def test_a_rate_of_another_pair_is_not_used():
    node = mark()
    node.on_rate(rate(1.0, currency="USDC"))
    assert node.on_book(book()) == []


def test_a_silent_input_withholds():
    node = mark()
    node.on_rate(rate(1.0))
    node.on_book(book())
    node.input_stale("rate", "withhold")
    assert node.on_book(book(1999.0, 2001.0)) == []
