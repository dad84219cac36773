"""Attribution: each part on its own, and the whole."""

from __future__ import annotations

from decimal import Decimal, localcontext
from math import sqrt

import pytest
from support.scripted_world import MICRO, NS, PERP, WEI, World, book, fill, lp_state, mark, rate, venue_position

from engine import PipelineError
from engine.errors import NodeFailed
from engine.testing import run_node
from nodes._lib.pnl import EXACT
from nodes.models.attribution import Attribution, quote_of

PARTS = (
    "carry", "lp_fees", "lvr", "hedge_price", "funding", "venue_fees", "gas", "swap_slippage", "basis",
)  # fmt: skip


class Desk:
    """Attribution with a clock: `desk(time, port, message)`, `desk.now(time)` brings the state at that time."""

    def __init__(self, **params) -> None:
        self.under = run_node(Attribution, now_s=0, **{"period_s": 1_000_000, **params})

    def __call__(self, time_s: float, port: str, message) -> list:
        self.under.at(time_s)
        return [state for _, state in getattr(self.under, f"on_{port}")(message)]

    def now(self, time_s: float):
        self.under.at(time_s)
        return self.under.stop()[-1][1]


def opened(price: float = 2000.0, **params) -> Desk:
    """10 ETH and 20,000 USDC at a mark of 2000, both rates 1."""
    desk = Desk(**params)
    for currency in ("USDC", "USDT"):
        desk(1, "rate", rate(1, currency, 1.0))
    desk(1, "book", book(1, price))
    desk(1, "mark", mark(1, price))
    desk(1, "lp", lp_state(1))
    desk(2, "mark", mark(2, price))
    return desk


def parts_of(state) -> dict[str, Decimal]:
    return {name: getattr(state, name) for name in PARTS if getattr(state, name)}


def assert_closed(state) -> None:
    with localcontext(EXACT):
        assert sum((getattr(state, name) for name in PARTS), Decimal(0)) == state.equity - state.start_equity


def test_first_state_is_the_start():
    desk = Desk()
    for currency in ("USDC", "USDT"):
        desk(1, "rate", rate(1, currency, 1.0))
    desk(1, "mark", mark(1, 2000.0))
    assert desk(1, "lp", lp_state(1)) == []
    (state,) = desk(2, "mark", mark(2, 2500.0))
    assert state.event_time_ns == 1 * NS
    assert state.mark == 2000
    assert state.equity == state.start_equity == state.holding == state.unhedged == state.rebalancing == 40_000
    assert parts_of(state) == {}


def test_carry_is_base_times_change_of_mark():
    desk = opened()
    desk(3, "mark", mark(3, 2010.0))
    state = desk.now(4)
    assert parts_of(state) == {"carry": 100}
    assert state.holding == state.rebalancing == state.unhedged == state.equity == 40_100


def test_a_swap_of_others_is_lvr_at_the_mark_of_the_block_close():
    desk = opened()
    # The pool sold 1 ETH for 1,995 USDC while the mark went to 2000 + 8.
    desk(3, "mark", mark(3, 2008.0))
    desk(3, "lp", lp_state(3, base=9 * WEI, quote=21_995 * MICRO))
    state = desk.now(4)
    assert parts_of(state) == {"carry": 80, "lvr": -13}
    assert state.equity - state.rebalancing == -13


def test_the_mark_of_the_same_instant_counts_even_when_it_comes_after_the_lp():
    desk = opened()
    desk(3, "lp", lp_state(3, base=9 * WEI, quote=21_995 * MICRO))
    desk(3, "mark", mark(3, 2008.0))
    desk(5, "mark", mark(5, 2009.0))
    assert parts_of(desk.now(6)) == {"carry": 80 + 9, "lvr": -13}


def test_fees_are_lp_fees_when_earned_and_not_when_collected():
    desk = opened()
    desk(
        3,
        "lp",
        lp_state(3, base=10 * WEI + WEI // 10, quote=20_050 * MICRO, fees_base=WEI // 10, fees_quote=50 * MICRO),
    )
    assert parts_of(desk.now(4)) == {"lp_fees": 250}


def test_gas_and_own_swaps():
    desk = opened()
    state = lp_state(
        3,
        base=11 * WEI,
        quote=17_990 * MICRO,
        native_base=-WEI // 100,
        gas_base=WEI // 100,
        swap_base=WEI,
        swap_quote=-2010 * MICRO,
    )
    desk(3, "lp", state)
    assert parts_of(desk.now(4)) == {"gas": -20, "swap_slippage": -10}


def test_an_unclosed_block_is_not_valued():
    desk = opened()
    desk(3, "lp", lp_state(3, base=9 * WEI, block_closed=False))
    assert parts_of(desk.now(4)) == {}


def test_hedge_fill_against_the_mark_then_carried():
    desk = opened()
    desk(3, "fill", fill(3, "1", "-4", "2001", fee="1.6"))
    desk(4, "book", book(4, 1990.0))
    desk(4, "mark", mark(4, 1990.0))
    state = desk.now(5)
    assert parts_of(state) == {"carry": -100, "hedge_price": 4 + 40, "venue_fees": Decimal("-1.6")}
    assert state.venue_base == -4
    assert state.lp_base == 10
    assert_closed(state)


def test_basis_is_the_distance_of_the_venue_from_the_mark():
    desk = opened()
    desk(3, "fill", fill(3, "1", "-4", "2000"))
    desk(4, "book", book(4, 2003.0))
    assert parts_of(desk.now(5)) == {"basis": -12}


def test_a_rate_moves_quote_of_lp_and_venue_and_collateral_in_basis():
    desk = opened(collateral=1000, collateral_currency="USDT")
    desk(3, "fill", fill(3, "1", "-1", "2000"))
    desk(4, "rate", rate(4, "USDC", 0.99))
    desk(4, "rate", rate(4, "USDT", 1.01))
    state = desk.now(5)
    # 20,000 USDC lose 200; 1,000 USDT of collateral win 10; a short of 1 at 2000 with 2,000 USDT of cash is worth 0.
    assert parts_of(state) == {"basis": -190}
    assert state.start_equity == 41_000
    assert state.unhedged == 39_800
    assert_closed(state)


def test_funding_is_the_change_of_the_counter():
    desk = opened()
    desk(3, "fill", fill(3, "1", "-4", "2000"))
    desk(3, "position", venue_position(3, "-4", last_trade_id="1"))
    desk(4, "position", venue_position(4, "-4", funding="2.5", last_trade_id="1"))
    assert parts_of(desk.now(5)) == {"funding": Decimal("2.5")}


def test_a_fill_is_booked_once():
    desk = opened()
    for _ in range(2):
        desk(3, "fill", fill(3, "1", "-4", "2001"))
    assert desk.now(4).venue_base == -4


def test_a_late_fill_that_the_first_position_contains_is_not_booked_again():
    desk = opened()
    desk(3, "position", venue_position(3, "-2", funding="0", last_trade_id="50"))
    desk(4, "fill", fill(4, "48", "-2", "1900"))
    assert desk.now(5).venue_base == -2
    desk(6, "fill", fill(6, "51", "-1", "1900"))
    assert desk.now(7).venue_base == -3


def test_a_position_from_before_the_start_is_taken_over_at_the_mid():
    desk = opened()
    desk(3, "position", venue_position(3, "-2", funding="7", last_trade_id="old"))
    desk(4, "fill", fill(4, "old", "-2", "1900"))
    desk(5, "book", book(5, 2010.0))
    desk(5, "mark", mark(5, 2010.0))
    state = desk.now(6)
    assert state.venue_base == -2
    assert parts_of(state) == {"carry": 100, "hedge_price": -20}


def test_a_fill_before_the_start_waits_for_it():
    desk = Desk()
    desk(1, "rate", rate(1, "USDC", 1.0))
    desk(1, "fill", fill(1, "1", "-4", "2001"))
    desk(1, "mark", mark(1, 2000.0))
    desk(1, "book", book(1, 2000.0))
    desk(2, "lp", lp_state(2))
    assert desk.now(3).venue_base == 0 or pytest.fail("a fill was valued without a rate")
    desk(4, "rate", rate(4, "USDT", 1.0))
    state = desk.now(5)
    assert state.venue_base == -4
    assert parts_of(state) == {"hedge_price": 4}


def test_nothing_is_sent_while_a_rate_has_expired_and_nothing_is_lost():
    desk = opened()
    desk(3, "rate", rate(3, "USDC", 1.0, lives_s=10))
    desk(20, "lp", lp_state(20, base=9 * WEI, quote=22_000 * MICRO))
    desk.under.at(30)
    assert desk.under.stop() == []
    desk(31, "rate", rate(31, "USDC", 1.0))
    desk(32, "lp", lp_state(32, base=9 * WEI, quote=22_010 * MICRO))
    assert parts_of(desk.now(33)) == {"lvr": 10}


def test_a_fee_in_another_currency_counts_at_its_rate():
    desk = opened()
    desk(3, "rate", rate(3, "BNB", 600.0))
    desk(3, "fill", fill(3, "1", "-1", "2000", fee="0.01", fee_currency="BNB"))
    desk(4, "rate", rate(4, "BNB", 900.0))
    assert parts_of(desk.now(5)) == {"venue_fees": -6}


def test_periods_are_whole_multiples():
    under = run_node(Attribution, now_s=90, period_s=60)
    for message, port in ((rate(90, "USDC", 1.0), "rate"), (mark(90, 2000.0), "mark"), (lp_state(90), "lp")):
        getattr(under, f"on_{port}")(message)
    assert [state.event_time_ns // NS for _, state in under.at(305)] == [90, 120, 180, 240, 300]


def test_period_0_sends_at_each_closed_block():
    desk = opened(period_s=0)
    desk(3, "lp", lp_state(3))
    (state,) = desk(4, "lp", lp_state(4))
    assert (state.event_time_ns, state.block) == (3 * NS, 3)


def test_a_run_in_which_nothing_could_be_valued_fails_with_the_reason():
    desk = Desk()
    desk(1, "mark", mark(1, 2000.0))
    desk(1, "lp", lp_state(1))
    with pytest.raises((PipelineError, NodeFailed), match="no valid rate from USDC into USD"):
        desk.now(2)


def test_a_mark_in_another_currency_is_refused():
    with pytest.raises(NodeFailed, match="report currency is USD"):
        Desk()(1, "mark", mark(1, 2000.0, currency="EUR"))


def test_quote_of():
    assert quote_of(PERP) == "USDT"
    with pytest.raises(ValueError, match="names no pair"):
        quote_of("ETH")


def test_world_is_closed_and_identities_hold():
    under = run_node(Attribution, now_s=1_700_000_000 // 60 * 60 - 1, period_s=60)
    states = []
    for time_s, port, message in World(minutes=400).messages():
        states += [state for _, state in under.at(time_s)]
        if port in Attribution.spec.inputs:
            states += [state for _, state in getattr(under, f"on_{port}")(message)]
    states += [state for _, state in under.stop()]
    assert len(states) > 390
    for state in states:
        assert_closed(state)
        with localcontext(EXACT):
            change = state.lp_fees + state.lvr + state.gas + state.swap_slippage
            assert state.unhedged - state.rebalancing == change
    last = states[-1]
    assert last.lvr < 0 < last.lp_fees
    assert last.gas < 0


def test_lvr_agrees_with_theory():
    # Milionis et al. (2022): a range loses σ²·L·√P/4 per time while the price is in it.
    world = World(minutes=3000, seed=5)
    under = run_node(Attribution, now_s=1_700_000_000 // 60 * 60 - 1, period_s=3600)
    for time_s, port, message in world.messages():
        under.at(time_s)
        if port in Attribution.spec.inputs:
            getattr(under, f"on_{port}")(message)
    state = under.stop()[-1][1]
    expected = sum(world.volatility**2 * world.liquidity * sqrt(price) / 4 for price in world.path)
    assert float(-state.lvr) == pytest.approx(expected, rel=0.1)
