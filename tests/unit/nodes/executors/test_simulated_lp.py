"""The simulated LP: what it holds, earns and pays, in both token orders."""

from __future__ import annotations

from decimal import Decimal

import pytest
from support.pools import START_NS, command, pool_state

from engine.testing import NodeUnderTest, run_node
from nodes.executors.simulated_lp import SimulatedLp
from nodes.messages import GateVerdict, LpState

START_S = START_NS // 10**9


def make(quote_is_token0: bool = True, **params: object) -> NodeUnderTest:
    values: dict[str, object] = {
        "fee": 500,
        "quote_is_token0": quote_is_token0,
        "base": 10,
        "quote": 20_000,
        "native": 1,
        "gas_price_gwei": 10,
    }
    return run_node(SimulatedLp, now_s=START_S, **(values | params))


def minted(
    quote_is_token0: bool = True, lower: float = 1_900.0, upper: float = 2_100.0, **params: object
) -> NodeUnderTest:
    """A node that has opened its two positions around 2,000 at second 12."""
    lp = make(quote_is_token0, **params)
    lp.on_pool(pool_state(2_000.0, quote_is_token0=quote_is_token0))
    lp.on_command(command(lower, upper))
    lp.at(START_S + 12)
    return lp


def last_state(sent: list) -> LpState:
    (name, message) = sent[-1]
    assert name == "state"
    return message


def walk(lp: NodeUnderTest, prices: list[float], quote_is_token0: bool, flow: float = 50_000.0) -> LpState:
    """Move the price through `prices`; each step pays in what the pool's liquidity asks for, roughly."""
    before = 2_000.0
    for number, price in enumerate(prices, 13):
        paid = {"quote_in": int(flow * 1e6)} if price > before else {"base_in": int(flow / price * 1e18)}
        sent = lp.on_pool(pool_state(price, number, quote_is_token0=quote_is_token0, **paid))
        before = price
    return last_state(sent)


@pytest.mark.parametrize("quote_is_token0", [True, False])
def test_a_rebalance_waits_for_its_block_then_puts_the_wallet_into_two_single_sided_positions(quote_is_token0):
    lp = make(quote_is_token0)
    lp.on_pool(pool_state(2_000.0, quote_is_token0=quote_is_token0))
    taken = last_state(lp.on_command(command(1_900.0, 2_100.0)))
    assert (taken.pending, taken.positions) == ("c1", ())
    assert lp.at(START_S + 11.9) == []
    state = last_state(lp.at(START_S + 12))
    assert (state.pending, state.confirmed) == ("", "c1")
    above, below = state.positions
    assert (above.quote_amount, below.base_amount) == (0, 0)
    # One unit of liquidity is some hundred wei of base; what does not make one more stays in the wallet.
    assert 0 <= state.wallet_base <= 1_000
    assert 0 <= 10**19 - state.wallet_base - above.base_amount <= 2
    assert 0 <= 20_000 * 10**6 - state.wallet_quote - below.quote_amount <= 2
    assert below.lower_price <= 1_900 <= below.lower_price * 1.001
    assert above.upper_price / 1.001 <= 2_100 <= above.upper_price
    assert below.upper_price < 2_000 < above.lower_price
    assert above.lower_price / below.upper_price < 1.0011
    assert above.lower_tick % 10 == above.upper_tick % 10 == below.lower_tick % 10 == 0


def test_both_token_orders_hold_and_earn_the_same():
    states = [walk(minted(order), [2_010.0, 2_050.0, 2_000.0, 1_950.0, 1_980.0], order) for order in (True, False)]
    one, other = states
    assert one.fees_base > 10**12 and one.fees_quote > 10**4
    # The tick grids of the two orders do not mirror each other exactly: a tick of width is the difference.
    assert one.fees_base == pytest.approx(other.fees_base, rel=0.02)
    assert one.fees_quote == pytest.approx(other.fees_quote, rel=0.02)
    for mine, mirrored in zip(one.positions, other.positions, strict=True):
        assert mine.base_amount == pytest.approx(mirrored.base_amount, rel=0.03, abs=10)
        assert mine.quote_amount == pytest.approx(mirrored.quote_amount, rel=0.03, abs=10)


def test_a_fee_is_the_swap_on_our_liquidity_thinned_by_our_share():
    lp = minted()
    above = _state(lp)[-1][1].positions[0]
    # From 2,010 to 2,050 inside the upper range, with others equal to ours: half of what we would earn alone.
    lp.on_pool(pool_state(2_010.0, 14, quote_in=0))
    before = _state(lp)[-1][1]
    state = last_state(lp.on_pool(pool_state(2_050.0, 15, quote_in=10**12, liquidity=above.liquidity)))
    roots = [price**0.5 * 10**-6 for price in (2_010.0, 2_050.0)]
    paid = above.liquidity * (roots[1] - roots[0]) / (1 - 0.0005) * 0.0005
    assert state.fees_quote - before.fees_quote == pytest.approx(paid / 2, rel=1e-6)
    assert state.fees_base == before.fees_base
    assert state.positions[0].quote_fees == state.fees_quote


def _state(lp: NodeUnderTest) -> list[tuple[str, LpState]]:
    """Have the node say what it holds."""
    lp.sent.clear()
    lp.node._send()
    lp.host.deliver()
    return lp.sent


def test_fees_never_exceed_the_pools_own_and_the_protocol_takes_its_part():
    whole, cut = minted(), minted()
    for lp, protocol in ((whole, 0), (cut, 4)):
        lp.on_pool(pool_state(2_010.0, 13))
        lp.on_pool(pool_state(2_050.0, 14, quote_in=10**6, protocol_fee_quote=protocol))
    earned = _state(whole)[-1][1].fees_quote
    assert earned == 10**6 * 500 // 10**6
    assert _state(cut)[-1][1].fees_quote == earned - earned // 4


def test_nothing_is_earned_outside_the_range():
    lp = minted()
    lp.on_pool(pool_state(2_200.0, 13, quote_in=10**10))
    before = _state(lp)[-1][1]
    lp.on_pool(pool_state(2_400.0, 14, quote_in=10**10))
    lp.on_pool(pool_state(2_250.0, 15, base_in=10**18))
    after = _state(lp)[-1][1]
    assert (after.fees_base, after.fees_quote) == (before.fees_base, before.fees_quote)
    assert after.positions[0].base_amount == 0


def test_a_bar_pays_by_the_share_of_its_ticks_in_range():
    lp = minted()
    held = _state(lp)[-1][1].positions[0]
    bar = {"estimated": True, "quote_in": 10**12, "liquidity": held.liquidity}
    lp.on_pool(pool_state(2_050.0, 60, price_low=2_040.0, price_high=2_060.0, **bar))
    inside = _state(lp)[-1][1].fees_quote
    assert inside == 10**12 * 500 // 10**6 // 2
    top = held.upper_price
    lp.on_pool(pool_state(2_120.0, 120, price_low=top / 1.01, price_high=top * 1.01, **bar))
    assert _state(lp)[-1][1].fees_quote - inside == pytest.approx(inside / 2, rel=1e-6)


def test_a_withdrawal_brings_everything_home_and_gas_is_paid_from_native():
    lp = minted()
    walked = walk(lp, [2_050.0, 1_960.0], True)
    held = walked.wallet_base + sum(each.base_amount + each.base_fees for each in walked.positions)
    lp.on_command(command(0.0, 0.0, "c2", "withdraw"))
    state = last_state(lp.at(START_S + 60))
    assert (state.positions, state.wallet_base) == ((), held)
    gas = (2 * 450_000 + 2 * 230_000) * 10 * 10**9
    assert (state.gas_base, state.native_base) == (gas, 10**18 - gas)


def test_a_command_is_acted_on_once_and_refused_while_another_is_in_flight():
    lp = make()
    lp.on_pool(pool_state(2_000.0))
    lp.on_command(command(1_900.0, 2_100.0))

    def refusal(sent: list) -> str:
        ((name, verdict),) = sent
        assert name == "verdict" and isinstance(verdict, GateVerdict) and not verdict.passed
        return verdict.detail

    assert "in flight" in refusal(lp.on_command(command(1_800.0, 2_200.0, "c2")))
    lp.at(START_S + 12)
    assert "acted on before" in refusal(lp.on_command(command(1_900.0, 2_100.0)))
    assert "no price" in refusal(make().on_command(command(1_900.0, 2_100.0)))
    assert "empty" in refusal(lp.on_command(command(2_100.0, 1_900.0, "c3")))
    poor = make(native=Decimal("0.001"))
    poor.on_pool(pool_state(2_000.0))
    assert "gas" in refusal(poor.on_command(command(1_900.0, 2_100.0)))
    strange = make()
    strange.on_pool(pool_state(2_000.0))
    assert "pool ETH-DAI" in refusal(strange.on_command(command(1_900.0, 2_100.0, pool="ETH-DAI")))


def test_a_price_past_the_range_leaves_that_side_in_the_wallet():
    lp = make()
    lp.on_pool(pool_state(2_000.0))
    lp.on_command(command(1_900.0, 2_100.0))
    lp.on_pool(pool_state(2_300.0, 5))
    state = last_state(lp.at(START_S + 12))
    (below,) = state.positions
    assert below.base_amount == 0 and below.upper_price < 2_300
    assert state.wallet_base == 10**19


def test_a_swap_evens_the_values_and_its_loss_is_fee_and_slippage():
    lp = minted(swap=True, base=20, quote=0, swap_slippage_bps=10.0)
    state = _state(lp)[-1][1]
    assert state.swap_base == -(10**19)
    assert state.swap_quote == pytest.approx(10 * 2_000e6 * 0.9995 * 0.999, rel=1e-9)
    assert len(state.positions) == 2


def test_the_state_is_sent_at_the_end_of_a_block_and_only_when_something_changed():
    lp = minted()
    assert lp.on_pool(pool_state(2_010.0, 13, block_closed=False)) == []
    assert len(lp.on_pool(pool_state(2_011.0, 13))) == 1
    assert lp.on_pool(pool_state(2_011.0, 14)) == []


def test_fees_alone_may_wait_and_are_told_at_the_end():
    lp = minted(report_s=60)

    def after(second: float, price: float = 2_010.0, quote_in: int = 10**10) -> list[tuple[str, LpState]]:
        lp.at(START_S + second)
        return lp.on_pool(pool_state(price, second, quote_in=quote_in, estimated=True))

    assert last_state(after(30)).price == 2_010.0
    assert after(40) == []
    assert after(89.9) == []
    told = last_state(after(90))
    assert told.fees_quote > 0
    assert after(160, quote_in=0) == []
    moved = last_state(after(161, price=2_011.0))
    assert moved.fees_quote > told.fees_quote
    assert after(170, price=2_011.0) == []
    last = last_state(lp.stop())
    assert last.fees_quote > moved.fees_quote
    assert lp.stop() == []
