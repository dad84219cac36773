"""What must hold of the LP's accounts whatever is done with it."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pools import START_NS, command, orientation, pool_state

from engine.testing import NodeUnderTest, run_node
from nodes._lib.pool_position import fee_of, liquidity_for, open_position, sqrt_of_price, sqrt_ratio_at_tick
from nodes.executors.simulated_lp import SimulatedLp
from nodes.messages import LpState
from nodes.models.inventory import Inventory

START_S = START_NS // 10**9
prices = st.floats(1_500.0, 3_000.0)
orders = st.booleans()


def lp_node(quote_is_token0: bool, **params: object) -> NodeUnderTest:
    values: dict[str, object] = {"fee": 500, "quote_is_token0": quote_is_token0, "base": 10, "quote": 20_000}
    return run_node(SimulatedLp, now_s=START_S, **(values | {"native": 1, "gas_price_gwei": 0} | params))


def totals(state: LpState) -> tuple[int, int]:
    """All base and all quote, fees included, without native."""
    base = state.wallet_base + sum(each.base_amount + each.base_fees for each in state.positions)
    quote = state.wallet_quote + sum(each.quote_amount + each.quote_fees for each in state.positions)
    return base, quote


def held(node: NodeUnderTest) -> LpState:
    node.sent.clear()
    node.node._send()
    node.host.deliver()
    return node.sent[-1][1]


@given(
    st.integers(-205_000, -190_000),
    st.integers(1, 400),
    st.integers(-206_000, -189_000),
    st.integers(0, 10**22),
    st.integers(0, 10**14),
)
def test_minting_and_burning_at_one_price_loses_two_units_at_most(start, width, at, amount0, amount1):
    lower, upper = start // 10 * 10, start // 10 * 10 + width * 10
    root = sqrt_ratio_at_tick(at) + 12_345
    low, high = sqrt_ratio_at_tick(lower), sqrt_ratio_at_tick(upper)
    liquidity = liquidity_for(root, low, high, amount0, amount1)
    position = open_position(orientation(False), "1", (lower, upper), liquidity, root)
    for cost, back, offered in zip(position.cost(root), position.amounts(root), (amount0, amount1), strict=True):
        assert 0 <= cost - back <= 2
        assert cost <= offered


@given(st.lists(prices, min_size=2, max_size=8), orders, st.sampled_from([100, 500, 3000]))
def test_a_fee_is_never_negative_and_does_not_depend_on_the_steps_of_the_way(path, quote_is_token0, fee):
    where = orientation(quote_is_token0, fee)
    roots = [sqrt_of_price(where, price) for price in path]
    position = open_position(where, "1", where.range_ticks(1_900.0, 2_100.0), 10**17, roots[0])
    in_steps = msgspec.structs.replace(position)
    for before, after in pairwise(roots):
        side = int(after > before)
        whole = fee_of(position.move_to(after)[side], fee)
        first = fee_of(in_steps.move_to((before + after) // 2)[side], fee)
        parts = first + fee_of(in_steps.move_to(after)[side], fee)
        assert 0 <= parts <= whole <= parts + 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(prices, st.integers(0, 10**24), st.integers(0, 10**22)), min_size=1, max_size=12),
    orders,
    st.booleans(),
)
def test_fees_of_a_walk_only_grow_and_never_exceed_what_was_paid(steps, quote_is_token0, estimated):
    node = lp_node(quote_is_token0)
    node.on_pool(pool_state(2_000.0, quote_is_token0=quote_is_token0))
    node.on_command(command(1_800.0, 2_200.0))
    node.at(START_S + 12)
    before, paid_base, paid_quote = held(node), 0, 0
    for number, (price, base_in, liquidity) in enumerate(steps, 13):
        low, high = sorted((before.price, price))
        flow = {"base_in": base_in} if price < before.price else {"quote_in": base_in // 10**9}
        node.on_pool(
            pool_state(
                price,
                number,
                quote_is_token0=quote_is_token0,
                price_low=low,
                price_high=high,
                liquidity=liquidity,
                estimated=estimated,
                **flow,
            )
        )
        paid_base += flow.get("base_in", 0)
        paid_quote += flow.get("quote_in", 0)
        now = held(node)
        assert before.fees_base <= now.fees_base <= paid_base * 500 // 10**6
        assert before.fees_quote <= now.fees_quote <= paid_quote * 500 // 10**6
        assert sum(each.base_fees for each in now.positions) == now.fees_base
        assert sum(each.quote_fees for each in now.positions) == now.fees_quote
        before = now


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.tuples(st.floats(1_700.0, 1_990.0), st.floats(2_010.0, 2_400.0)), st.none()), max_size=6),
    orders,
    st.integers(0, 30),
)
def test_rebalancing_at_one_price_leaves_the_inventory_as_it_is(ranges, quote_is_token0, gas_price):
    """Burn, collect and mint move base between parts of the level; rounding takes 2 wei a position, gas the reserve."""
    node = lp_node(quote_is_token0, gas_price_gwei=gas_price)
    inventory = run_node(Inventory, now_s=START_S, source="1:pool:wallet", gas_reserve=1)
    node.on_pool(pool_state(2_000.0, quote_is_token0=quote_is_token0))
    seen = held(node)
    level = inventory.on_lp(seen)[0][1].delta_base_wei
    assert level == 10**19
    positions = 0
    for number, ends in enumerate(ranges, 1):
        node.on_command(command(*(ends or (0.0, 0.0)), f"c{number}", "rebalance" if ends else "withdraw"))
        for state in [message for _, message in node.at(START_S + 12 * number)]:
            assert state.confirmed == f"c{number}"
            positions += len(state.positions)
            inventory.at(START_S + 60 * number)
            ((_, delta),) = inventory.on_lp(state)
            assert 0 <= level - delta.delta_base_wei <= 2 * positions
            quote = totals(state)[1]
            assert 0 <= 20_000 * 10**6 - quote <= 2 * positions


@settings(max_examples=40, deadline=None)
@given(st.lists(prices, min_size=1, max_size=6), orders)
def test_without_fees_a_round_trip_of_the_price_brings_the_amounts_back(path, quote_is_token0):
    node = lp_node(quote_is_token0)
    node.on_pool(pool_state(2_000.0, quote_is_token0=quote_is_token0))
    node.on_command(command(1_700.0, 2_600.0))
    node.at(START_S + 12)
    start = totals(held(node))
    for number, price in enumerate([*path, 2_000.0], 13):
        node.on_pool(pool_state(price, number, quote_is_token0=quote_is_token0))
    assert totals(held(node)) == start
