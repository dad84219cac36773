"""The passive hedger: when it acts, with what, and when it keeps out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from support.markets import PERP, book, exposure, update

from engine.clock import Clock
from engine.errors import NodeFailed
from engine.run.host import Host
from engine.testing import NodeUnderTest, run_node
from nodes._lib.exposure_gamma import ExposureGamma
from nodes._lib.hedging import hedge_band
from nodes.hedgers.passive import LiveOrder, PassiveHedger, crossing_ticks, passive_ticks
from nodes.messages import GateVerdict

SETTINGS = {"instrument": PERP, "tick_size": "0.1", "lot_size": "0.01", "max_order_size": 3, "band_base": 1}


def hedger(**params: Any) -> NodeUnderTest:
    node = run_node(PassiveHedger, **{**SETTINGS, **params})
    node.on_book(book())
    return node


def only(sent: list) -> Any:
    ((name, message),) = sent
    assert name == "order"
    return message


@pytest.mark.parametrize(
    ("side", "bid", "ask", "offset", "ticks"),
    [
        ("buy", 2000.0, 2000.5, 0, 20000),
        ("buy", 2000.0, 2000.5, 2, 19998),
        ("buy", 2000.0, 2000.5, -1, 20001),
        ("buy", 2000.0, 2000.1, -1, 20000),
        ("sell", 2000.0, 2000.5, 0, 20005),
        ("sell", 2000.0, 2000.5, -1, 20004),
        ("sell", 2000.0, 2000.1, -1, 20001),
        ("buy", 2000.03, 2000.08, 0, 20000),
        ("sell", 2000.03, 2000.08, 0, 20001),
    ],
)
def test_the_passive_price_rests_and_never_crosses(side, bid, ask, offset, ticks):
    assert passive_ticks(side, bid, ask, 0.1, offset) == ticks


def test_the_collar_is_rounded_towards_the_touch_and_reaches_it():
    assert crossing_ticks("buy", 2000.0, 2000.1, 0.1, 10.0) == 20021
    assert crossing_ticks("sell", 2000.0, 2000.1, 0.1, 10.0) == 19980
    assert crossing_ticks("buy", 2000.0, 2000.1, 0.1, 0.0) == 20001


def test_it_sells_when_long_beyond_the_band_back_to_the_edge():
    order = only(hedger().on_exposure(exposure(2.505)))
    assert (order.action, order.side, order.price, order.size) == ("place", "sell", Decimal("2000.1"), Decimal("1.50"))
    assert (order.post_only, order.time_in_force, order.client_order_id) == (True, "gtc", "node-1")


def test_it_buys_when_short_and_goes_to_zero_if_asked_up_to_the_largest_order():
    order = only(hedger(target="zero").on_exposure(exposure(-2.509)))
    assert (order.side, order.price, order.size) == ("buy", Decimal("2000.0"), Decimal("2.50"))
    assert only(hedger(target="zero").on_exposure(exposure(-9.0))).size == 3


def test_within_the_band_or_below_a_lot_nothing_happens():
    assert hedger().on_exposure(exposure(1.0)) == []
    assert hedger().on_exposure(exposure(-1.0)) == []
    assert hedger().on_exposure(exposure(1.009)) == []


def test_an_order_below_the_minimum_notional_is_not_sent():
    assert hedger(min_notional=50).on_exposure(exposure(1.02)) == []
    assert len(hedger(min_notional=50).on_exposure(exposure(1.03))) == 1


@pytest.mark.parametrize("net", [None, float("nan"), float("inf")])
def test_an_undefined_exposure_cancels_and_keeps_out(net):
    node = hedger()
    node.on_exposure(exposure(3.0))
    assert only(node.on_exposure(exposure(net))).action == "cancel"
    assert node.on_update(update("node-1", "canceled")) == []
    assert node.on_book(book()) == []


@pytest.mark.parametrize(
    "bad",
    [book(2000.1, 2000.0), book(2000.0, 2000.0), book(bid_size=0.0), book(ask_size=0.0), book(float("nan"), 2000.0)],
)
def test_a_broken_book_cancels_and_keeps_out_until_it_is_whole(bad):
    node = hedger(min_interval_s=0)
    node.on_exposure(exposure(3.0))
    assert only(node.on_book(bad)).action == "cancel"
    assert node.on_update(update("node-1", "canceled")) == []
    assert only(node.on_book(book())).client_order_id == "node-2"


def test_a_stale_book_cancels_and_keeps_out():
    node = hedger(book_max_age_s=5)
    node.on_exposure(exposure(3.0))
    node.on_update(update("node-1", "open"))
    node.at(5.5)
    assert only(node.on_exposure(exposure(3.1))).action == "cancel"
    node.on_update(update("node-1", "canceled"))
    assert node.on_exposure(exposure(3.2)) == []


def test_a_silent_input_cancels_and_keeps_out_until_it_speaks():
    node = hedger(min_interval_s=0)
    node.on_exposure(exposure(3.0))
    assert only(node.input_stale("book", "cancel")).action == "cancel"
    assert node.on_update(update("node-1", "canceled")) == []
    assert node.on_exposure(exposure(3.1)) == []
    assert node.input_recovered("book") == []
    assert only(node.on_book(book())).action == "place"


def test_there_is_one_live_order_also_while_it_is_not_acknowledged():
    node = hedger()
    node.on_exposure(exposure(3.0))
    assert node.on_exposure(exposure(3.5)) == []
    assert node.on_book(book()) == []
    node.at(2.0)
    assert node.on_exposure(exposure(4.0)) == []


def test_it_replaces_only_after_the_cancel_is_confirmed():
    node = hedger(reprice_ticks=2)
    node.on_exposure(exposure(3.0))
    node.on_update(update("node-1", "open"))
    assert node.on_book(book(1999.8, 1999.9)) == []
    assert only(node.on_book(book(1999.7, 1999.8))).action == "cancel"
    assert node.on_book(book(1999.0, 1999.1)) == []
    node.at(1.0)
    placed = only(node.on_update(update("node-1", "canceled")))
    assert (placed.action, placed.price, placed.client_order_id) == ("place", Decimal("1999.1"), "node-2")


def test_it_does_not_improve_on_its_own_order():
    node = hedger(offset_ticks=-1, reprice_ticks=0)
    node.on_book(book(2000.0, 2001.0))
    assert only(node.on_exposure(exposure(3.0))).price == Decimal("2000.9")
    node.on_update(update("node-1", "open"))
    assert node.on_book(book(2000.0, 2000.9)) == []


def test_an_old_order_is_replaced_if_another_would_be_placed():
    node = hedger(max_age_s=30, book_max_age_s=100)
    node.on_exposure(exposure(3.0))
    node.on_update(update("node-1", "open"))
    node.on_exposure(exposure(3.5))
    assert node.at(29.0) == []
    assert only(node.at(30.0)).action == "cancel"


def test_an_old_order_that_is_still_right_keeps_its_place_in_line():
    node = hedger(max_age_s=30, book_max_age_s=100)
    node.on_exposure(exposure(3.0))
    node.on_update(update("node-1", "open"))
    assert node.at(30.0) == []
    node.on_book(book(2000.1, 2000.2))
    assert only(node.at(60.0)).action == "cancel"


def test_orders_keep_their_minimum_interval():
    node = hedger(min_interval_s=4)
    node.on_exposure(exposure(3.0))
    node.on_update(update("node-1", "open"))
    node.on_book(book(1990.0, 1990.1))
    assert node.on_update(update("node-1", "canceled")) == []
    assert node.at(3.9) == []
    assert only(node.at(4.0)).action == "place"


def test_it_shrinks_when_exposure_falls_so_that_it_would_do_too_much():
    node = hedger(shrink_tolerance=0.25)
    node.on_exposure(exposure(3.0))
    node.on_update(update("node-1", "open", size="2"))
    assert node.on_exposure(exposure(2.7)) == []
    assert only(node.on_exposure(exposure(2.5))).action == "cancel"


def test_it_never_works_more_than_the_exposure_whatever_the_tolerance():
    node = hedger(shrink_tolerance=100, band_base=0)
    node.on_exposure(exposure(3.0))
    node.on_update(update("node-1", "open", size="3"))
    assert only(node.on_exposure(exposure(2.98))).action == "cancel"


def test_it_turns_when_the_exposure_turns():
    node = hedger()
    node.on_exposure(exposure(3.0))
    assert only(node.on_exposure(exposure(-3.0))).action == "cancel"


def test_it_leaves_when_exposure_comes_back_by_itself():
    node = hedger()
    node.on_exposure(exposure(3.0))
    assert only(node.on_exposure(exposure(0.5))).action == "cancel"
    assert node.on_update(update("node-1", "canceled")) == []


def test_after_a_fill_it_waits_until_the_exposure_contains_it():
    node = hedger(min_interval_s=0)
    node.on_exposure(exposure(5.0))
    assert node.on_update(update("node-1", "filled", size="3", filled="3")) == []
    assert node.on_book(book()) == []
    assert node.on_exposure(exposure(5.1)) == []  # only the LP moved
    assert only(node.on_exposure(exposure(2.1, venue=-3.0))).size == Decimal("1.10")


def test_a_fill_that_the_exposure_had_before_its_update_is_not_waited_for():
    node = hedger(min_interval_s=0)
    node.on_exposure(exposure(5.0))
    node.on_exposure(exposure(2.0, venue=-3.0))
    sent = node.on_update(update("node-1", "filled", size="3", filled="3"))
    assert only(sent).size == Decimal("1.00")


def test_what_moved_before_the_order_does_not_stand_for_its_fill():
    node = hedger(min_interval_s=0)
    node.on_exposure(exposure(0.5))
    node.on_exposure(exposure(5.0, venue=-3.0))
    assert node.on_update(update("node-1", "filled", size="3", filled="3")) == []
    assert node.on_book(book()) == []


def test_a_verdict_on_a_repeat_does_not_end_the_order():
    node = hedger()
    node.on_exposure(exposure(5.0))
    assert node.on_verdict(GateVerdict("v", "node-1", 0, False, "duplicate", "used before")) == []
    assert node.node.live is not None
    assert only(node.at(6.0)).action == "cancel"  # the answer tells what it is


def test_an_undefined_exposure_does_not_stand_for_the_fill():
    node = hedger(min_interval_s=0)
    node.on_exposure(exposure(5.0, venue=-4.0))
    node.on_update(update("node-1", "filled", size="3", filled="3"))
    node.on_exposure(exposure(None, venue=0.0))
    assert node.on_exposure(exposure(5.0, venue=-4.0)) == []
    assert only(node.on_exposure(exposure(2.0, venue=-7.0))).size == Decimal("1.00")


def test_after_a_restart_in_a_world_that_went_on_it_asks_after_the_order_that_it_had():
    host = Host(Clock(0))
    node = host.add("node", PassiveHedger, {**SETTINGS, "tick_size": Decimal("0.1"), "lot_size": Decimal("0.01")})
    node.max_order_size = Decimal(3)
    node.live, node.orders_sent = LiveOrder("node-7", "sell", 20001, 100, acknowledged=True), 7
    sent = []
    host.tap(("node", "order"), sent.append)
    host.start_restored()
    host.resume()
    assert [(order.action, order.client_order_id) for order in sent] == [("cancel", "node-7")]


def test_a_partial_fill_leaves_the_rest_working():
    node = hedger()
    node.on_exposure(exposure(3.0))
    assert node.on_update(update("node-1", "partially_filled", size="2", filled="0.5")) == []
    assert node.on_exposure(exposure(2.5, venue=-0.5)) == []


def test_to_zero_it_goes_on_inside_the_band():
    node = hedger(target="zero", min_interval_s=0)
    node.on_exposure(exposure(3.5))
    node.on_update(update("node-1", "filled", size="3", filled="3"))
    assert only(node.on_exposure(exposure(0.5, venue=-3.0))).size == Decimal("0.50")
    node.on_update(update("node-2", "filled", size="0.5", filled="0.5"))
    assert node.on_exposure(exposure(0.0, venue=-3.5)) == []
    assert node.on_exposure(exposure(0.9, venue=-3.5)) == []


def test_a_rejection_is_tried_again_after_a_growing_wait():
    node = hedger(min_interval_s=1)
    node.on_exposure(exposure(3.0))
    node.on_update(update("node-1", "rejected"))
    assert only(node.at(1.0)).client_order_id == "node-2"
    node.on_update(update("node-2", "rejected"))
    assert node.at(2.9) == []
    assert only(node.at(3.0)).client_order_id == "node-3"


def test_a_blocked_order_is_known_from_the_verdict():
    node = hedger(min_interval_s=1)
    node.on_exposure(exposure(3.0))
    assert node.on_verdict(GateVerdict("v", "node-1", 0, True, "all", "x")) == []
    assert node.on_verdict(GateVerdict("v", "node-1", 0, False, "order_size", "x")) == []
    assert only(node.at(1.0)).client_order_id == "node-2"


def test_without_an_answer_it_asks_by_cancelling_until_it_knows():
    node = hedger(ack_timeout_s=5, book_max_age_s=8)
    node.on_exposure(exposure(3.0))
    assert only(node.at(5.0)).action == "cancel"
    assert only(node.at(10.0)).action == "cancel"
    assert node.on_update(update("node-1", "rejected")) == []  # the book of the start is stale by now
    assert node.at(60.0) == []


def test_a_cancel_in_time_is_asked_after_once_per_timeout():
    node = hedger(ack_timeout_s=5)
    node.on_exposure(exposure(3.0))
    node.at(2.0)
    node.on_exposure(exposure(0.0))
    assert [node.at(second) == [] for second in (6.9, 7.0, 11.9, 12.0)] == [True, False, True, False]


def test_a_taker_sends_collared_orders_that_do_not_rest():
    order = only(hedger(style="taker", collar_bps=10).on_exposure(exposure(2.0)))
    assert (order.time_in_force, order.post_only, order.price) == ("ioc", False, Decimal("1998.0"))


def test_maker_then_taker_crosses_only_outside_the_wide_band_and_after_the_cancel():
    node = hedger(style="maker_then_taker", cross_band_base=4, min_interval_s=0)
    assert only(node.on_exposure(exposure(3.0))).post_only
    node.on_update(update("node-1", "open"))
    assert only(node.on_exposure(exposure(4.5))).action == "cancel"
    crossing = only(node.on_update(update("node-1", "canceled")))
    assert (crossing.time_in_force, crossing.size) == ("ioc", Decimal("3.00"))


def test_the_wide_band_is_wider():
    with pytest.raises(NodeFailed, match="must be above band_base"):
        run_node(PassiveHedger, **SETTINGS, style="maker_then_taker", cross_band_base=1)


def test_the_whalley_wilmott_band_follows_the_measured_gamma():
    node = hedger(band="whalley_wilmott", max_band_base=50, risk_aversion=1e-4, cost_bps=5, gamma_memory=20)
    lp = 0.0
    for step in range(64):
        mid = 2000.0 + (step % 2) * 2.0
        lp = -0.5 * (mid - 2000.0)
        node.on_book(book(mid - 0.05, mid + 0.05))
        node.on_exposure(exposure(lp))
    wanted = hedge_band(5e-4 * 2002.0, 0.5, gamma=1e-4, sigma=0.0)
    assert node.node.half_width == pytest.approx(wanted, rel=1e-3)


def test_the_whalley_wilmott_band_needs_its_parameters():
    with pytest.raises(NodeFailed, match="needs risk_aversion"):
        run_node(PassiveHedger, **SETTINGS, band="whalley_wilmott")


def test_gamma_is_not_known_from_few_observations_or_a_price_that_stands():
    gamma = ExposureGamma(4)
    for _ in range(10):
        gamma.observe(1.0, 2000.0)
    assert gamma.value() is None
    gamma = ExposureGamma(4)
    for step in range(4):
        gamma.observe(float(step), 2000.0 + step)
    assert gamma.value() is None
    gamma.observe(4.0, 2004.0)
    assert gamma.value() == pytest.approx(1.0)


def test_stop_cancels_the_live_order_once():
    node = hedger()
    assert node.stop() == []
    node.on_exposure(exposure(3.0))
    assert only(node.stop()).action == "cancel"
    assert node.stop() == []
