"""The inventory delta: what is counted, and when it is sent."""

from __future__ import annotations

from decimal import Decimal

import pytest
from support.pools import START_NS, lp_position, lp_state

from engine.testing import NodeUnderTest, run_node
from nodes.messages import Conversion, InventoryDelta, Volatility
from nodes.models.inventory import Inventory

START_S = START_NS // 10**9
HELD = (lp_position(3 * 10**18, 500 * 10**6, base_fees=10**16, quote_fees=2 * 10**6), lp_position(0, 1_000 * 10**6))


def make(**params: object) -> NodeUnderTest:
    return run_node(Inventory, now_s=START_S, **({"source": "1:pool:wallet", "gas_reserve": Decimal("0.3")} | params))


def only(sent: list) -> InventoryDelta:
    ((_, message),) = sent
    return message


def test_every_part_of_the_level_is_counted_once():
    node = make(base_target=Decimal("1.25"))
    delta = only(node.on_lp(lp_state(2_000.0, positions=HELD, wallet_base=10**17, wallet_quote=7 * 10**6)))
    # 3 in positions, 0.01 owed, 0.1 wrapped, 0.7 native above the reserve, 1.25 wanted.
    assert delta.delta_base_wei == 2_560_000_000_000_000_000
    assert delta.delta_base == pytest.approx(2.56)
    assert (delta.base_in_positions, delta.base_uncollected, delta.base_in_wallet) == pytest.approx((3.0, 0.01, 0.8))
    assert delta.quote_total == pytest.approx(1_509.0)
    assert delta.value_usd == pytest.approx(3.81 * 2_000 + 1_509)
    assert delta.inventory_ratio == pytest.approx(7_620 / 9_129)
    assert delta.target_ratio == pytest.approx(2_500 / 9_129)
    assert delta.deviation == pytest.approx(5_120 / 9_129)
    assert (delta.epoch, delta.sequence, delta.expires_block) == (START_NS, 1, delta.block + 25)


def test_native_below_the_reserve_is_no_debt():
    delta = only(make().on_lp(lp_state(wallet_base=5, native_base=10**17)))
    assert delta.delta_base_wei == 5


def test_it_is_sent_when_the_level_changes_or_has_to_be_refreshed():
    node = make(refresh_s=60.0)
    assert only(node.on_lp(lp_state(wallet_base=1))).sequence == 1
    node.at(START_S + 30)
    assert node.on_lp(lp_state(2_100.0, 30, wallet_base=1)) == []
    assert node.on_lp(lp_state(2_100.0, 30, wallet_base=9, block_closed=False)) == []
    assert only(node.on_lp(lp_state(2_100.0, 30, wallet_base=2))).sequence == 2
    node.at(START_S + 90)
    assert only(node.on_lp(lp_state(2_100.0, 90, wallet_base=2))).sequence == 3


def test_a_command_in_flight_is_told():
    delta = only(make().on_lp(lp_state(pending="c7", pending_base_change=-(10**18))))
    assert delta.rebalance_due and "c7" in delta.rebalance_reason
    assert delta.pending_base_change == -1.0


def test_usd_values_use_the_wired_rate_and_vanish_when_it_has_expired():
    node = make(usd_per_quote=2.0)
    assert only(node.on_lp(lp_state(wallet_quote=10**6))).usd_rate == 2.0
    node.on_vol(Volatility(START_NS, 0.55, 2_000.0))
    node.on_rate(Conversion("USDC", "USD", START_NS, 0.999, START_NS + 10**9))
    delta = only(node.on_lp(lp_state(wallet_base=1)))
    assert (delta.usd_rate, delta.volatility) == (0.999, 0.55)
    node.at(START_S + 2)
    delta = only(node.on_lp(lp_state(wallet_base=2)))
    assert (delta.usd_rate, delta.value_usd) == (0.0, 0.0)


def test_a_change_within_the_step_waits_and_adds_up():
    node = make(step=Decimal("1e-17"), refresh_s=60.0)
    assert only(node.on_lp(lp_state(wallet_base=100))).sequence == 1
    assert node.on_lp(lp_state(wallet_base=110)) == []
    assert node.on_lp(lp_state(wallet_base=90)) == []
    assert only(node.on_lp(lp_state(wallet_base=111))).sequence == 2
    assert node.on_lp(lp_state(wallet_base=101)) == []
    assert only(node.on_lp(lp_state(wallet_base=101, pending="c1"))).sequence == 3
    node.at(START_S + 60)
    assert only(node.on_lp(lp_state(wallet_base=101, pending="c1"))).sequence == 4
