"""Whatever happens, in whatever order: the parts of PnL sum to the change of equity, to the last digit."""

from __future__ import annotations

from decimal import Decimal, localcontext

from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripted_world import MICRO, WEI, book, fill, lp_state, mark, rate, venue_position

from engine.testing import run_node
from nodes._lib.pnl import EXACT
from nodes.models.attribution import Attribution

LP_PARTS = ("lp_fees", "lvr", "gas", "swap_slippage")
PARTS = ("carry", *LP_PARTS, "hedge_price", "funding", "venue_fees", "basis")

prices = st.floats(0.01, 100_000.0)
rates = st.floats(0.5, 1.5)
amounts = st.decimals(Decimal("-50"), Decimal("50"), places=5).filter(bool)
fees = st.decimals(Decimal("-5"), Decimal("5"), places=9)
wei = st.integers(0, 1000 * WEI)
micro = st.integers(0, 10**6 * MICRO)
growth = st.integers(0, WEI)

events = st.one_of(
    st.tuples(st.just("mark"), prices),
    st.tuples(st.just("book"), prices),
    st.tuples(st.just("rate"), st.sampled_from(["USDC", "USDT", "BNB"]), rates, st.sampled_from([2.0, 1e9])),
    st.tuples(st.just("lp"), wei, micro, growth, growth, growth, st.integers(-WEI, WEI), st.integers(-MICRO, MICRO)),
    st.tuples(st.just("fill"), amounts, prices, fees, st.sampled_from(["USDT", "ETH", "BNB"])),
    st.tuples(st.just("position"), fees),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(events, max_size=60), st.decimals(0, 10_000, places=2))
def test_parts_sum_to_the_change_of_equity(script, collateral):
    under = run_node(Attribution, period_s=3, collateral=collateral, collateral_currency="USDT")
    # With these known it always begins; what comes later may take them away again.
    for port, message in (
        ("rate", rate(0, "USDC", 1.0)),
        ("rate", rate(0, "USDT", 1.0)),
        ("mark", mark(0, 2000.0)),
        ("lp", lp_state(0)),
    ):
        getattr(under, f"on_{port}")(message)
    states = []
    counters = dict.fromkeys(("fees_base", "fees_quote", "gas_base", "swap_base", "swap_quote"), 0)
    funding = Decimal(0)
    size = Decimal(0)
    for number, (kind, *data) in enumerate(script, 1):
        now = number * 0.7
        states += under.at(now)
        match kind:
            case "mark":
                message = mark(now, data[0])
            case "book":
                message = book(now, data[0], data[0] * 1e-5)
            case "rate":
                message = rate(now, *data)
            case "lp":
                for name, grown in zip(counters, data[2:], strict=True):
                    counters[name] += grown
                message = lp_state(now, base=data[0], quote=data[1], **counters)
            case "fill":
                amount, price, fee, currency = data
                size += amount
                message = fill(now, str(number), str(amount), repr(price), str(fee), fee_currency=currency)
            case _:
                funding += data[0]
                message = venue_position(now, str(size), str(funding), str(number))
        states += getattr(under, f"on_{kind}")(message)
    states += under.stop()
    assert states, "the start is always sent"
    with localcontext(EXACT):
        for _, state in states:
            assert sum((getattr(state, name) for name in PARTS), Decimal(0)) == state.equity - state.start_equity
            assert sum((getattr(state, name) for name in LP_PARTS), Decimal(0)) == state.unhedged - state.rebalancing


@settings(max_examples=50, deadline=None)
@given(st.lists(prices, min_size=1, max_size=30), wei, micro)
def test_an_lp_that_does_nothing_is_its_holding(path, base, quote):
    under = run_node(Attribution, currency="USDC", period_s=1_000_000)
    under.on_mark(mark(0, 2000.0, currency="USDC"))
    under.on_lp(lp_state(0, base=base, quote=quote))
    for number, price in enumerate(path, 1):
        under.at(number)
        under.on_mark(mark(number, price, currency="USDC"))
        under.on_lp(lp_state(number, base=base, quote=quote))
    under.at(len(path) + 1)
    _, state = under.stop()[-1]
    assert state.equity == state.holding == state.unhedged == state.rebalancing
    with localcontext(EXACT):
        assert state.carry == state.equity - state.start_equity
    assert not any((state.lp_fees, state.lvr, state.gas, state.swap_slippage, state.basis, state.hedge_price))
