"""The pure rules of the simulated venue."""

from __future__ import annotations

from decimal import Decimal

import pytest
from support.markets import book

from nodes.venues.sim.account import Account, fee_of
from nodes.venues.sim.matching import (
    RestingOrder,
    Taken,
    displayed_at,
    fills_of_trade,
    is_market,
    levels_of,
    queue_after_book,
    queue_at_arrival,
    still_taken,
    take,
    to_lot,
)

LOT = Decimal("0.001")
BIDS = [(2000.0, 3.0), (1999.9, 4.0), (1999.7, 5.0)]


def bid(price: str, size: str = "1", ahead: float = 0.0, order_id: str = "a") -> RestingOrder:
    return RestingOrder(order_id, "1", "buy", Decimal(price), Decimal(size), queue_ahead=ahead)


@pytest.mark.parametrize(
    ("price", "shown"), [(2000.1, 0.0), (2000.0, 3.0), (1999.9, 4.0), (1999.8, 0.0), (1999.7, 5.0), (1999.6, None)]
)
def test_displayed_size_is_zero_where_nobody_rests_and_unknown_beyond_the_book(price, shown):
    assert displayed_at(BIDS, "buy", price) == shown


def test_displayed_size_of_asks_is_the_mirror_image():
    asks = [(2000.0, 3.0), (2000.2, 4.0)]
    assert displayed_at(asks, "sell", 1999.9) == 0.0
    assert displayed_at(asks, "sell", 2000.1) == 0.0
    assert displayed_at(asks, "sell", 2000.2) == 4.0
    assert displayed_at(asks, "sell", 2000.3) is None


def test_queue_beyond_the_book_is_as_long_as_at_the_deepest_level():
    assert queue_at_arrival(BIDS, "buy", 1999.0, 1.0) == 5.0
    assert queue_at_arrival(BIDS, "buy", 1999.9, 0.5) == 2.0
    assert queue_at_arrival([], "buy", 1999.9, 1.0) == 0.0


def test_queue_never_exceeds_what_is_displayed_and_never_grows():
    assert queue_after_book(4.0, [(2000.0, 1.5)], "buy", 2000.0) == 1.5
    assert queue_after_book(1.0, [(2000.0, 9.0)], "buy", 2000.0) == 1.0
    assert queue_after_book(4.0, [(1999.9, 9.0)], "buy", 2000.0) == 0.0
    assert queue_after_book(4.0, [(2000.5, 9.0)], "buy", 2000.0) == 4.0


def test_a_trade_at_the_price_uses_up_the_queue_first():
    order = bid("2000", "1", ahead=2.0)
    assert fills_of_trade([order], 2000.0, 1.5, "sell", participation=1.0, lot_size=LOT) == []
    assert order.queue_ahead == pytest.approx(0.5)
    assert fills_of_trade([order], 2000.0, 0.8, "sell", participation=1.0, lot_size=LOT) == [(order, Decimal("0.300"))]
    assert order.queue_ahead == 0.0


def test_a_trade_through_the_price_fills_whatever_the_queue():
    order = bid("2000", "1", ahead=50.0)
    assert fills_of_trade([order], 1999.9, 0.4, "sell", participation=1.0, lot_size=LOT) == [(order, Decimal("0.400"))]


def test_a_trade_of_our_own_side_at_the_price_fills_nothing():
    order = bid("2000", "1")
    assert fills_of_trade([order], 2000.0, 5.0, "buy", participation=1.0, lot_size=LOT) == []


def test_participation_bounds_the_sum_over_orders_in_price_then_time_order():
    worse, first, second = (
        bid("1999.9", "1", order_id="w"),
        bid("2000", "1", order_id="f"),
        bid("2000", "1", order_id="s"),
    )
    fills = fills_of_trade([worse, first, second], 1999.0, 3.0, "sell", participation=0.5, lot_size=LOT)
    assert fills == [(first, Decimal("1")), (second, Decimal("0.500"))]


@pytest.mark.parametrize(("price", "size"), [(float("nan"), 1.0), (2000.0, float("inf")), (0.0, 1.0), (1999.0, -1.0)])
def test_a_print_that_is_no_number_fills_nothing(price, size):
    assert fills_of_trade([bid("2000")], price, size, "sell", participation=1.0, lot_size=LOT) == []


def test_take_walks_the_levels_up_to_the_limit():
    taken: Taken = {}
    asks = [(2000.1, 1.0), (2000.2, 2.0), (2000.4, 9.0)]
    parts = take(asks, "buy", 2000.2, Decimal("5"), lot_size=LOT, taken=taken)
    assert parts == [(Decimal("2000.1"), Decimal("1.000")), (Decimal("2000.2"), Decimal("2.000"))]
    assert take(asks, "buy", 2000.2, Decimal("5"), lot_size=LOT, taken=taken) == []


def test_a_level_is_there_again_once_it_shows_another_size():
    taken: Taken = {}
    take([(2000.1, 1.0)], "buy", 2000.1, Decimal("1"), lot_size=LOT, taken=taken)
    assert still_taken(taken, [(2000.1, 1.0)]) == taken
    assert still_taken(taken, [(2000.1, 1.5)]) == {}
    assert still_taken(taken, [(2000.2, 1.0)]) == {}


def test_rounding_to_lots_is_downwards_and_free_of_binary_noise():
    assert to_lot(0.3, LOT) == Decimal("0.300")
    assert to_lot(1.2 - 0.9, LOT) == Decimal("0.300")
    assert to_lot(Decimal("0.0019"), LOT) == Decimal("0.001")


def test_a_market_has_two_finite_sides_that_do_not_meet():
    assert is_market(book())
    assert not is_market(book(2000.1, 2000.1))
    assert not is_market(book(2000.2, 2000.1))
    assert not is_market(book(float("nan"), 2000.1))
    assert not is_market(book(2000.0, float("inf")))
    assert not is_market(book(bid_size=0.0))
    assert levels_of(book(bids=[(2000.0, 1.0), (float("nan"), 2.0), (1999.0, 0.0)]), "buy") == [(2000.0, 1.0)]


def test_account_means_entries_realises_on_closing_and_flips():
    account = Account()
    account.book_fill(Decimal(2), Decimal(100), Decimal("0.1"))
    account.book_fill(Decimal(2), Decimal(110), Decimal("0.1"))
    assert (account.size, account.entry_price) == (4, 105)
    account.book_fill(Decimal(-1), Decimal(120), Decimal(0))
    assert (account.size, account.entry_price, account.realised) == (3, 105, 15)
    account.book_fill(Decimal(-5), Decimal(100), Decimal("-0.05"))
    assert (account.size, account.entry_price, account.realised) == (-2, 100, 0)
    account.book_fill(Decimal(2), Decimal(90), Decimal(0))
    assert (account.size, account.entry_price, account.realised) == (0, 0, 20)
    assert account.fees == Decimal("0.15")


def test_the_long_pays_funding_when_the_rate_is_positive():
    account = Account(size=Decimal(3))
    account.pay_funding(Decimal(2000), Decimal("0.1095"), Decimal(28800))
    assert account.funding == Decimal("-0.6")
    account.size = Decimal(-3)
    account.pay_funding(Decimal(2000), Decimal("0.1095"), Decimal(28800))
    assert account.funding == 0


def test_a_rebate_is_a_negative_fee():
    assert fee_of(Decimal(2000), Decimal("0.5"), Decimal("-0.5")) == Decimal("-0.05")
