"""What the LP gate lets pass, and the rule it names when it does not."""

from __future__ import annotations

import pytest
from support.pools import START_NS, command, lp_position, lp_state, pool_state

from engine.testing import NodeUnderTest, run_node
from nodes.messages import Book, GateVerdict
from nodes.risk.lp_gate import LpGate

START_S = START_NS // 10**9


def make(**params: object) -> NodeUnderTest:
    gate = run_node(LpGate, now_s=START_S, **({"max_value_quote": 10_000.0} | params))
    gate.on_pool(pool_state(2_000.0))
    gate.on_lp(lp_state(positions=(lp_position(),)))
    return gate


def book(mid: float, seconds: float = 0.0) -> Book:
    now = START_NS + round(seconds * 1e9)
    return Book("ETH-USDT-PERP", now, now, mid - 0.5, 1.0, mid + 0.5, 1.0)


def judge(gate: NodeUnderTest, *arguments: object, **fields: object) -> GateVerdict:
    """Return the verdict, and check that the command goes on exactly when it passed."""
    asked = command(*(arguments or (1_900.0, 2_100.0)), **fields)
    sent = gate.on_command(asked)
    verdict = sent[0][1]
    assert [name for name, _ in sent] == (["verdict", "approved"] if verdict.passed else ["verdict"])
    assert verdict.request_id == asked.command_id
    if verdict.passed:
        assert sent[1][1] is asked
    return verdict


def test_a_sane_rebalance_passes():
    verdict = judge(make())
    assert verdict.passed and verdict.rule == "all"


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((2_001.0, 2_100.0), "range"),
        ((1_900.0, 2_000.0), "range"),
        ((0.0, 2_100.0), "range"),
        ((1_999.5, 2_000.5), "width"),
        ((500.0, 4_000.0), "width"),
    ],
)
def test_a_strange_range_is_blocked(arguments, rule):
    assert judge(make(), *arguments, price=2_000.0).rule == rule


def test_a_price_that_ran_away_since_the_decision_is_blocked():
    assert judge(make(), price=1_991.0).passed
    assert judge(make(), price=1_989.0).rule == "collar"
    assert judge(make(), price=0.0).rule == "collar"


def test_an_old_or_silent_pool_is_blocked_and_a_withdrawal_still_passes():
    gate = make(max_pool_age_s=600.0)
    gate.at(START_S + 601)
    assert judge(gate).rule == "pool-age"
    gate = make()
    gate.input_stale("pool", "block")
    assert judge(gate).rule == "stale"
    assert judge(gate, 0.0, 0.0, action="withdraw").passed
    gate.input_recovered("pool")
    assert judge(gate).passed


def test_what_was_never_seen_blocks_and_a_withdrawal_still_passes():
    gate = run_node(LpGate, now_s=START_S, max_value_quote=10_000.0)
    assert judge(gate).rule == "unknown"
    assert judge(gate, 0.0, 0.0, action="withdraw").passed


def test_a_gap_to_the_venue_beside_the_basis_is_blocked():
    gate = make(max_gap_bps=20.0, basis_bps=10.0)
    gate.on_book(book(2_002.0))
    assert judge(gate).passed
    gate.on_book(book(2_007.0))
    assert judge(gate).rule == "gap"
    gate.on_book(book(1_997.0))
    assert judge(gate).rule == "gap"
    gate.on_book(book(float("nan")))
    assert judge(gate).rule == "gap"
    gate.on_book(book(2_002.0, -121.0))
    assert judge(gate).rule == "book-age"


def test_rebalances_are_counted_by_hour_and_day():
    gate = make(max_per_hour=2, max_per_day=3, max_pool_age_s=1e9)
    assert [judge(gate).rule for _ in range(3)] == ["all", "all", "per-hour"]
    gate.at(START_S + 3_601)
    assert [judge(gate).rule for _ in range(2)] == ["all", "per-day"]
    gate.at(START_S + 86_401)
    assert judge(gate).passed


def test_value_at_stake_is_positions_fees_and_wallet():
    # 1 base and 2,000 quote in the position, half a base of fees, 2.5 base and 100 quote in the wallet: 10,100.
    held = lp_state(positions=(lp_position(base_fees=5 * 10**17),), wallet_base=25 * 10**17, wallet_quote=100 * 10**6)
    for limit, rule in ((10_100.0, "all"), (10_099.0, "value")):
        gate = make(max_value_quote=limit)
        gate.on_lp(held)
        assert judge(gate).rule == rule
