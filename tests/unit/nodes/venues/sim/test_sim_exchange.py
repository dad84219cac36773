"""The simulated venue as a node: latency, rejections, fills, races, money."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from support.markets import PERP, book, cancel, place, trade

from engine.testing import NodeUnderTest, run_node
from engine.wire.codec import decode_state, encode_state
from nodes.venues.sim.exchange import SimulatedExchange


def venue(**params: Any) -> NodeUnderTest:
    settings = {"instrument": PERP, "tick_size": "0.1", "order_latency_s": 0, "cancel_latency_s": 0}
    node = run_node(SimulatedExchange, **{**settings, **params})
    node.at(0)
    return node


def statuses(sent: list) -> list[str]:
    return [message.status for name, message in sent if name == "update"]


def of(sent: list, name: str) -> list:
    return [message for port, message in sent if port == name]


def test_the_position_is_told_at_the_start():
    node = run_node(SimulatedExchange, instrument=PERP)
    (sent,) = of(node.at(0), "position")
    assert (sent.size, sent.last_trade_id) == (0, "")


def test_an_order_arrives_after_its_latency_and_meets_the_book_of_then():
    node = venue(order_latency_s=0.05)
    node.on_book(book(ask=2000.1))
    assert node.on_order(place("a", "buy", "2000.1", "1")) == []
    node.on_book(book(bid=2000.1, ask=2000.2))
    assert statuses(node.at(0.049)) == []
    assert statuses(node.at(0.05)) == ["open"]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (place("a", "buy", "2000.05", "1"), "tick"),
        (place("a", "buy", "2000", "0.0005"), "lot"),
        (place("a", "buy", "2000", "0.001"), "notional"),
        (place("a", "buy", "2000", "-1"), "above 0"),
        (place("a", "buy", "NaN", "1"), "finite"),
        (place("a", "buy", "2000", "1", instrument="BTC-USDT"), "not traded"),
        (place("a", "buy", "2000.1", "1"), "would trade"),
        (place("a", "sell", "2000", "1"), "would trade"),
        (place("a", "sell", "2000", "1", time_in_force="ioc"), "post-only"),
    ],
)
def test_what_is_not_well_formed_is_rejected_with_the_reason(request_, reason):
    node = venue(min_notional=5)
    node.on_book(book())
    ((name, sent),) = node.on_order(request_)
    assert (name, sent.status) == ("update", "rejected")
    assert reason in sent.reason


def test_no_order_is_accepted_without_a_valid_market():
    node = venue()
    assert statuses(node.on_order(place("a", "buy", "2000", "1"))) == ["rejected"]
    node.on_book(book())
    node.on_book(book(bid=2001, ask=2000))
    assert statuses(node.on_order(place("b", "buy", "1999", "1"))) == ["rejected"]
    node.on_book(book())
    assert statuses(node.on_order(place("c", "buy", "1999", "1"))) == ["open"]


def test_of_used_ids_the_last_are_kept(monkeypatch):
    monkeypatch.setattr("nodes._lib.recent_ids.REMEMBERED", 3)
    node = venue()
    node.on_book(book())
    node.on_order(place("rests", "buy", "1999", "1"))
    for number in range(10):
        node.on_order(place(f"a{number}", "buy", "1999", "1"))
        node.on_order(cancel(f"a{number}"))
    assert node.node.used_ids == ["a7", "a8", "a9"]
    assert statuses(node.on_order(place("a8", "buy", "1999", "1"))) == ["rejected"]
    assert statuses(node.on_order(place("rests", "buy", "1999", "1"))) == ["open"]


def test_a_client_order_id_is_used_once():
    node = venue()
    node.on_book(book())
    node.on_order(place("a", "buy", "2000", "1"))
    ((_, sent),) = node.on_order(place("a", "buy", "2000", "1"))
    assert (sent.status, "used before" in sent.reason) == ("open", True)
    node.on_order(cancel("a"))
    ((_, sent),) = node.on_order(place("a", "buy", "2000", "1"))
    assert (sent.status, "used before" in sent.reason) == ("rejected", True)


def test_a_repeat_of_an_order_on_its_way_is_not_answered():
    node = venue(order_latency_s=1.0)
    node.on_book(book())
    node.on_order(place("a", "buy", "2000", "1"))
    assert node.on_order(place("a", "buy", "2000", "1")) == []
    assert [message.status for _, message in node.at(2.0)] == ["open"]
    assert len(node.node.orders) == 1


def test_an_ioc_takes_level_by_level_pays_taker_fees_and_expires():
    node = venue(taker_fee_bps=5)
    node.on_book(book(asks=[(2000.1, 1.0), (2000.2, 2.0), (2000.9, 9.0)]))
    sent = node.on_order(place("a", "buy", "2000.2", "4", time_in_force="ioc", post_only=False))
    fills = of(sent, "fill")
    assert [(fill.price, fill.size, fill.liquidity) for fill in fills] == [
        (Decimal("2000.1"), 1, "taker"),
        (Decimal("2000.2"), 2, "taker"),
    ]
    assert fills[0].fee == Decimal("2000.1") * 5 / 10000
    assert fills[0].fee_currency == "USDT"
    assert fills[0].mid == pytest.approx(2000.05)
    assert statuses(sent) == ["open", "partially_filled", "partially_filled", "expired"]
    assert of(sent, "position")[-1].size == 3
    assert [fill.trade_id for fill in fills] == ["1", "2"]


def test_a_crossing_gtc_takes_and_rests_with_the_remainder():
    node = venue()
    node.on_book(book(ask=2000.1, ask_size=1.0))
    sent = node.on_order(place("a", "buy", "2000.1", "3", post_only=False))
    assert statuses(sent) == ["open", "partially_filled"]
    assert node.node.orders["a"].remaining == 2
    # The same book again offers nothing new; one that shows more does.
    assert of(node.on_book(book(ask=2000.1, ask_size=1.0)), "fill") == []
    (fill,) = of(node.on_book(book(ask=2000.1, ask_size=1.2)), "fill")
    assert (fill.size, fill.liquidity) == (Decimal("1.2"), "maker")


def test_a_resting_order_waits_for_its_queue():
    node = venue(queue_share=0.5)
    node.on_book(book(bid_size=4.0))
    node.on_order(place("a", "buy", "2000", "1"))
    assert node.on_trade(trade(2000.0, 1.5, "sell")) == []
    (fill,) = of(node.on_trade(trade(2000.0, 1.0, "sell")), "fill")
    assert (fill.size, fill.price, fill.liquidity) == (Decimal("0.5"), 2000, "maker")
    (fill,) = of(node.on_trade(trade(1999.9, 9.0, "sell")), "fill")
    assert fill.size == Decimal("0.5")
    assert node.node.orders == {}


def test_books_alone_fill_only_once_the_opposite_best_reaches_the_price():
    node = venue()
    node.on_book(book())
    node.on_order(place("a", "sell", "2000.1", "9"))
    assert node.on_book(book(bid=2000.0, ask=2000.3)) == []
    (fill,) = of(node.on_book(book(bid=2000.2, ask=2000.4, bid_size=2.5)), "fill")
    assert (fill.price, fill.size) == (Decimal("2000.1"), Decimal("2.5"))


def test_a_fill_before_the_cancel_arrives_wins():
    node = venue(cancel_latency_s=0.1)
    node.on_book(book())
    node.on_order(place("a", "buy", "2000", "1"))
    node.on_order(cancel("a"))
    assert statuses(node.on_trade(trade(1999.0, 5.0, "sell"))) == ["filled"]
    ((_, late),) = node.at(0.1)
    assert (late.status, late.reason) == ("rejected", "unknown order")


def test_a_cancel_does_not_overtake_its_order():
    node = venue(order_latency_s=0.5, cancel_latency_s=0.1)
    node.on_book(book())
    node.on_order(place("a", "buy", "2000", "1"))
    node.on_order(cancel("a"))
    assert node.at(0.4) == []
    assert statuses(node.at(0.5)) == ["open", "canceled"]


def test_a_cancel_of_an_unknown_order_is_rejected():
    ((_, sent),) = venue().on_order(cancel("nobody"))
    assert (sent.status, sent.reason) == ("rejected", "unknown order")


def test_fill_comes_before_its_update_and_the_position_that_contains_it():
    node = venue()
    node.on_book(book(bid_size=0.5))
    node.on_order(place("a", "buy", "2000", "1"))
    sent = node.on_trade(trade(1999.0, 5.0, "sell"))
    assert [name for name, _ in sent] == ["fill", "update", "position"]
    assert sent[2][1].last_trade_id == sent[0][1].trade_id


def test_funding_is_settled_at_multiples_of_the_interval():
    node = venue(funding_rate_annual=0.1095)
    node.on_book(book(bid=1999.9, ask=2000.1, ask_size=5))
    node.on_order(place("a", "buy", "2000.1", "3", post_only=False))
    assert of(node.at(28_799), "position") == []
    (first,) = of(node.at(28_800), "position")
    assert first.funding == Decimal("-0.6")
    (second,) = of(node.at(57_600), "position")
    assert second.funding == Decimal("-1.2")


def test_funding_starts_at_the_next_multiple_after_the_start():
    node = run_node(SimulatedExchange, now_s=28_700.0, instrument=PERP, funding_rate_annual=0.1, order_latency_s=0)
    node.at(28_700)
    node.on_book(book(ask_size=5))
    node.on_order(place("a", "buy", "2000.1", "3", post_only=False))
    assert of(node.at(28_799), "position") == []
    assert len(of(node.at(28_800), "position")) == 1


def test_without_a_market_nothing_fills_and_funding_uses_the_last_mid():
    node = venue(funding_rate_annual=0.1095)
    node.on_book(book(bid=1999.9, ask=2000.1, ask_size=5))
    node.on_order(place("a", "buy", "2000.1", "3", post_only=False))
    node.on_order(place("b", "sell", "2000.2", "1"))
    assert node.on_book(book(bid=2001, ask=2000)) == []
    (paid,) = of(node.at(28_800), "position")
    assert paid.funding == Decimal("-0.6")


def test_its_state_survives_the_codec():
    node = venue()
    node.on_book(book())
    node.on_order(place("a", "buy", "2000", "1"))
    node.on_trade(trade(1999.0, 0.4, "sell"))
    fields = {name: getattr(node.node, name) for name in SimulatedExchange.spec.state}
    types = {name: spec.type for name, spec in SimulatedExchange.spec.state.items()}
    assert decode_state(encode_state(fields), types) == fields


def test_stop_cancels_what_is_open_and_on_its_way():
    node = venue(order_latency_s=0.1)
    node.on_book(book())
    node.on_order(place("a", "buy", "2000", "1"))
    node.at(0.1)
    node.on_order(place("b", "buy", "2000", "1"))
    assert statuses(node.stop()) == ["canceled", "rejected"]
    assert node.stop() == []
