"""The risk gate: each rule alone, the latches, and what counts in the worst case."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from support.markets import PERP, book, cancel, exposure, place, update

from engine.testing import NodeUnderTest, run_node
from nodes._lib import limits, recent_ids
from nodes.risk.gate import RiskGate

LIMITS = {"instrument": PERP, "tick_size": "0.1", "max_order_size": 10, "max_order_value": 25_000, "max_net_base": 8}


def gate(net: float | None = 0.0, **params: Any) -> NodeUnderTest:
    node = run_node(RiskGate, **{**LIMITS, **params})
    node.on_book(book())
    node.on_exposure(exposure(net))
    return node


def judge(
    node: NodeUnderTest, order_id: str, side: str = "sell", size: str = "1", price: str = "2000.1"
) -> tuple[bool, str]:
    sent = node.on_order(place(order_id, side, price, size))
    (verdict,) = [message for name, message in sent if name == "verdict"]
    passed = [message for name, message in sent if name == "approved"]
    assert bool(passed) == verdict.passed
    assert verdict.request_id == order_id
    assert verdict.detail
    return verdict.passed, verdict.rule


def test_of_used_ids_only_the_last_and_those_of_open_orders_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recent_ids, "REMEMBERED", 5)
    node = gate(message_burst=100)
    assert judge(node, "open")[0]
    for number in range(20):
        assert judge(node, f"h-{number}") == (True, "all")
        node.on_update(update(f"h-{number}", "canceled"))
    assert node.node.used_ids == [f"h-{number}" for number in range(15, 20)]
    assert judge(node, "h-16") == (False, "duplicate")
    assert judge(node, "open") == (False, "duplicate")


def test_a_sound_order_passes_and_the_verdict_comes_first():
    sent = gate().on_order(place("a", "sell", "2000.1", "1"))
    assert [name for name, _ in sent] == ["verdict", "approved"]
    assert sent[0][1].rule == "all"
    assert sent[1][1] == place("a", "sell", "2000.1", "1")


@pytest.mark.parametrize(
    ("order", "rule"),
    [
        (place("a", "sell", "2000.1", "1", instrument="BTC-USDT-PERP"), "instrument"),
        (place("a", "sell", "2000.15", "1"), "well_formed"),
        (place("a", "sell", "2000.1", "1.0005"), "well_formed"),
        (place("a", "sell", "NaN", "1"), "well_formed"),
        (place("a", "sell", "2000.1", "Infinity"), "well_formed"),
        (place("a", "sell", "2000.1", "0"), "well_formed"),
        (place("a", "sell", "2000.1", "0.001"), "well_formed"),
        (place("a", "sell", "2000.1", "10.001"), "order_size"),
        (place("a", "sell", "2600", "9.999"), "order_value"),
        (place("a", "sell", "2021", "1"), "price_collar"),
        (place("a", "buy", "1979", "1"), "price_collar"),
        (place("a", "sell", "2000.1", "8.001"), "net_exposure"),
        (place("a", "buy", "2000", "8.001"), "net_exposure"),
    ],
)
def test_each_rule_blocks_and_is_named(order, rule):
    ((_, verdict),) = gate(min_notional=5).on_order(order)
    assert (verdict.passed, verdict.rule) == (False, rule)


def test_missing_inputs_block():
    node = run_node(RiskGate, **LIMITS)
    assert judge(node, "a") == (False, "reference")
    node.on_book(book())
    assert judge(node, "a") == (False, "exposure_known")
    node.on_exposure(exposure(None))
    assert judge(node, "a") == (False, "exposure_known")
    node.on_exposure(exposure(float("nan")))
    assert judge(node, "a") == (False, "exposure_known")
    node.on_exposure(exposure(0.0))
    assert judge(node, "a") == (True, "all")


@pytest.mark.parametrize(
    "bad",
    [book(2000.1, 2000.0), book(2000.0, 2000.0), book(float("nan"), 2000.0), book(bid_size=0.0), book(0.0, 2000.0)],
)
def test_a_book_that_is_no_market_blocks(bad):
    node = gate()
    node.on_book(bad)
    assert judge(node, "a") == (False, "reference")


def test_inputs_older_than_their_limit_block():
    node = gate(book_max_age_s=5, exposure_max_age_s=30)
    node.at(5.0)
    assert judge(node, "a")[0]
    node.at(5.001)
    assert judge(node, "b") == (False, "reference")
    node.at(31.0)
    node.on_book(book(at_s=31.0))
    assert judge(node, "c") == (False, "exposure_known")


def test_open_orders_of_the_same_side_count_in_full_until_their_end():
    node = gate()
    assert judge(node, "a", size="5") == (True, "all")
    assert judge(node, "b", size="4") == (False, "net_exposure")
    assert judge(node, "c", "buy", "8", "2000") == (True, "all")
    node.on_update(update("a", "open", size="5"))
    assert judge(node, "d", size="4") == (False, "net_exposure")
    node.on_update(update("a", "canceled", size="5"))
    assert judge(node, "e", size="4") == (True, "all")


def test_a_reported_fill_counts_until_the_exposure_contains_it():
    node = gate()
    judge(node, "a", size="5")
    node.on_update(update("a", "filled", size="5", filled="5"))
    assert judge(node, "b", size="4") == (False, "net_exposure")
    node.on_exposure(exposure(-5.0, venue=-5.0))
    assert judge(node, "c", size="4") == (False, "net_exposure")
    assert judge(node, "d", size="3") == (True, "all")


def test_a_fill_that_never_shows_in_the_exposure_is_never_forgotten():
    node = gate(settle_s=5)
    judge(node, "a", size="5")
    node.on_update(update("a", "filled", size="5", filled="5"))
    for second in (4.0, 60.0, 3_600.0):
        node.at(second)
        node.on_book(book(at_s=second))
        node.on_exposure(exposure(0.0, at_s=second))
        assert judge(node, f"b{second}", size="4") == (False, "net_exposure")
    node.on_exposure(exposure(-5.0, venue=-5.0, at_s=3_600.0))
    assert judge(node, "c", size="3") == (True, "all")


def test_a_trade_of_others_is_not_set_against_our_fill():
    node = gate(settle_s=5)
    node.on_exposure(exposure(-2.0, venue=-2.0))
    judge(node, "a", size="3")
    node.on_update(update("a", "filled", size="3", filled="3"))
    assert judge(node, "b", size="4") == (False, "net_exposure")
    node.on_exposure(exposure(-5.0, venue=-5.0))
    assert judge(node, "c", size="3") == (True, "all")


def test_a_reducing_order_passes_beyond_the_limit_but_not_to_beyond_it_on_the_other_side():
    node = gate(net=20.0)
    assert judge(node, "a", "buy", "0.1", "2000") == (False, "net_exposure")
    assert judge(node, "b", size="10") == (True, "all")
    assert judge(node, "c", size="10") == (True, "all")
    assert judge(node, "d", size="10") == (False, "net_exposure")  # worst case -10: less than 20, beyond 8
    assert judge(node, "e", size="8") == (True, "all")


def test_open_orders_are_bounded():
    node = gate(max_open_orders=2)
    assert judge(node, "a") == (True, "all")
    assert judge(node, "b", "buy", price="2000") == (True, "all")
    assert judge(node, "c") == (False, "open_orders")


def test_a_client_order_id_passes_once_also_after_its_end():
    node = gate()
    judge(node, "a")
    node.on_update(update("a", "canceled"))
    assert judge(node, "a") == (False, "duplicate")


def test_a_blocked_order_may_be_asked_for_again():
    node = gate(net=None)
    assert judge(node, "a")[0] is False
    node.on_exposure(exposure(0.0))
    assert judge(node, "a") == (True, "all")


def test_the_message_rate_keeps_a_reserve_and_lets_every_cancel_pass():
    node = gate(messages_per_s=1, message_burst=4, cancel_reserve=2, max_net_base=1000)
    assert [judge(node, name)[1] for name in "abc"] == ["all", "all", "message_rate"]
    for _ in range(9):
        sent = node.on_order(cancel("a"))
        assert [name for name, _ in sent] == ["verdict", "approved"]
    node.at(1.0)
    assert judge(node, "d") == (False, "message_rate")
    node.at(9.9)
    assert judge(node, "e")[1] == "all"


def test_repetition_latches_the_gate_until_a_restart():
    node = gate(max_repeats=3, repeat_window_s=10, max_net_base=1000)
    assert [judge(node, name)[1] for name in "abcd"] == ["all", "all", "all", "repetition"]
    node.at(1000.0)
    node.on_book(book(at_s=1000.0))
    node.on_exposure(exposure(50.0, at_s=1000.0))
    assert judge(node, "e") == (False, "latched")
    assert node.on_order(cancel("a"))[1][0] == "approved"


def test_repetition_counts_one_side_within_the_window():
    node = gate(max_repeats=2, repeat_window_s=1, max_net_base=1000)
    assert [judge(node, "a")[1], judge(node, "b", "buy", price="2000")[1], judge(node, "c")[1]] == ["all"] * 3
    node.at(1.0)
    assert judge(node, "d")[1] == "all"


def test_fills_of_one_side_that_lp_exposure_does_not_explain_latch_the_gate():
    node = gate(net=0.0, repeat_window_s=60)
    for number in range(9):  # sales that exposure shows only as fills: something buys back what is sold
        judge(node, f"s{number}", size="1")
        node.on_update(update(f"s{number}", "filled", filled="1"))
        node.at(number * 6.0)
        node.on_book(book(at_s=number * 6.0))
        node.on_exposure(replace(exposure(0.0, venue=-1.0 - number, at_s=number * 6.0), lp_base=0.0))
    assert judge(node, "s9") == (False, "execution")
    assert judge(node, "b", "buy", price="2000") == (False, "latched")


def test_catching_up_after_a_silence_does_not_latch_the_gate():
    node = gate(net=0.0, repeat_window_s=60, message_burst=100)
    node.on_exposure(exposure(None))
    node.at(600.0)
    node.on_book(book(at_s=600.0))
    for number in range(30):  # 30 base have come meanwhile; they are sold within the window
        node.on_exposure(exposure(30.0 - number, venue=-float(number), at_s=600.0))
        assert judge(node, f"s{number}", size="1") == (True, "all")
        node.on_update(update(f"s{number}", "filled", filled="1"))
    for number in range(30, 38):
        node.on_exposure(replace(exposure(0.0, venue=-float(number), at_s=600.0), lp_base=30.0))
        assert judge(node, f"s{number}", size="1") == (True, "all")
        node.on_update(update(f"s{number}", "filled", filled="1"))
    node.on_exposure(replace(exposure(0.0, venue=-38.0, at_s=600.0), lp_base=30.0))
    judge(node, "last", size="1")
    node.on_update(update("last", "filled", filled="1"))
    node.on_exposure(replace(exposure(0.0, venue=-39.0, at_s=600.0), lp_base=30.0))
    assert judge(node, "more", size="1") == (False, "execution")


@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_a_price_that_jumps_blocks_until_it_is_confirmed(factor):
    node = gate(max_order_value=1_000_000, jump_confirm_s=10)
    jumped = round(2000.0 * factor, 1)
    price = str(round(jumped + 0.1, 1))
    for second in (1.0, 6.0, 10.9):
        node.at(second)
        node.on_book(book(jumped, jumped + 0.1, at_s=second))
        assert judge(node, f"a{second}", price=price) == (False, "price_jump")
    node.at(11.0)
    node.on_book(book(jumped, jumped + 0.1, at_s=11.0))
    assert judge(node, "b", price=price) == (True, "all")


def test_a_wrong_print_is_forgotten_when_the_price_is_back():
    node = gate()
    node.on_book(book(20_000.0, 20_000.1))
    assert judge(node, "a", price="20000.1") == (False, "price_jump")
    node.on_book(book())
    assert judge(node, "b") == (True, "all")


def test_a_ramp_is_a_jump_and_a_market_that_moves_is_none():
    node = gate(max_order_value=1_000_000)
    rules = []
    for step in range(1, 100):  # 20 bps each tenth of a second
        mid = 2000.0 * 1.002**step
        node.at(step / 10)
        node.on_book(book(mid, mid + 0.1, at_s=step / 10))
        rules.append(node.node.reference.check(node.now_ns))
    assert rules[20] is None and rules[30] is not None
    node = gate(max_order_value=1_000_000)
    for step in range(1, 100):  # 20 bps each second
        mid = 2000.0 * 1.002**step
        node.at(float(step))
        node.on_book(book(mid, mid + 0.1, at_s=float(step)))
        assert node.node.reference.check(node.now_ns) is None


def test_without_a_largest_jump_every_mid_is_believed():
    node = gate(max_order_value=1_000_000, max_jump_bps=0)
    node.on_book(book(20_000.0, 20_000.1))
    assert judge(node, "a", price="20000.1") == (True, "all")


def test_fills_that_follow_lp_exposure_do_not_latch_the_gate():
    node = gate(net=0.0, repeat_window_s=60)
    for number in range(1, 60):
        node.at(float(number))
        node.on_book(book(at_s=float(number)))
        node.on_exposure(exposure(1.0, venue=1.0 - number, at_s=float(number)))
        assert judge(node, f"s{number}", size="1") == (True, "all")
        node.on_update(update(f"s{number}", "filled", filled="1"))


def test_a_gate_that_is_not_armed_lets_only_reducing_orders_and_cancels_pass():
    node = gate(net=3.0, armed=False)
    assert judge(node, "a", "buy", price="2000") == (False, "halted")
    assert judge(node, "b") == (True, "all")
    assert judge(node, "c", size="6") == (False, "halted")
    assert node.on_order(cancel("b"))[1][0] == "approved"


def test_block_holds_while_the_input_is_silent():
    node = gate()
    node.input_stale("book", "block")
    assert judge(node, "a") == (False, "silent_input")
    node.input_recovered("book")
    assert judge(node, "a") == (True, "all")


def test_halt_stays_when_the_input_speaks_again():
    node = gate(net=3.0)
    node.input_stale("exposure", "halt")
    assert judge(node, "a") == (False, "silent_input")
    node.input_recovered("exposure")
    assert judge(node, "a", "buy", price="2000") == (False, "halted")
    assert judge(node, "b") == (True, "all")


def test_limits_refuse_numbers_that_cannot_be_compared():
    nan = float("nan")
    assert limits.price_collar(nan, 2000.0, 100.0) is not None
    assert limits.price_collar(2000.0, nan, 100.0) is not None
    assert limits.net_exposure(nan, nan, 8.0) is not None
    assert limits.net_exposure(0.0, float("inf"), 8.0) is not None


def test_well_formed_needs_the_minimum_notional():
    order = place("a", "sell", "100", "0.1")
    args = (Decimal("0.1"), Decimal("0.001"))
    assert limits.well_formed(order, *args, Decimal(10)) is None
    assert limits.well_formed(order, *args, Decimal("10.01")) is not None
