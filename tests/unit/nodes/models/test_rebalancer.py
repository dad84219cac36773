"""When the rebalancer asks, and when it keeps quiet."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.pools import POOL, START_NS, lp_position, lp_state, pool_state

from engine.errors import NodeFailed
from engine.testing import NodeUnderTest, run_node
from nodes.messages import LpCommand, RangeTarget
from nodes.models.rebalancer import Rebalancer

START_S = START_NS // 10**9
HELD = (lp_position(base=10**18, quote=0), lp_position(base=0, quote=2_000 * 10**6))


def target(lower: float = 1_900.0, upper: float = 2_100.0) -> RangeTarget:
    return RangeTarget(POOL, START_NS, 2_000.0, lower, upper, 2_000.0)


def make(**params: object) -> NodeUnderTest:
    return run_node(Rebalancer, now_s=START_S, **({"price_threshold_bps": 100.0, "min_interval_s": 60.0} | params))


def placed(**params: object) -> NodeUnderTest:
    """A rebalancer whose first command has been confirmed at 2,000, a minute and more ago."""
    node = make(**params)
    node.on_lp(lp_state())
    (sent,) = commands(node.on_target(target()))
    node.at(START_S + 100)
    assert node.on_lp(lp_state(2_000.0, 100, positions=HELD, confirmed=sent.command_id)) == []
    return node


def commands(sent: list) -> list[LpCommand]:
    return [message for _, message in sent]


def confirm(node: NodeUnderTest, asked: LpCommand, seconds: float, price: float, **fields: object) -> list:
    node.at(START_S + seconds)
    return node.on_lp(lp_state(price, seconds, positions=HELD, confirmed=asked.command_id, **fields))


def test_the_first_position_waits_for_a_target_and_the_executors_word():
    node = make()
    assert node.on_pool(pool_state(2_000.0)) == []
    assert node.on_target(target()) == []
    (asked,) = commands(node.on_lp(lp_state()))
    assert (asked.action, asked.lower_price, asked.upper_price) == ("rebalance", 1_900.0, 2_100.0)
    assert asked.reason == "no position is open"


def test_a_price_crossing_fires_once_until_its_command_is_confirmed():
    node = placed()
    assert node.on_pool(pool_state(2_019.0, 101)) == []
    assert node.on_pool(pool_state(2_025.0, 101, block_closed=False)) == []
    (asked,) = commands(node.on_pool(pool_state(2_021.0, 102)))
    assert "price moved +105 bps" in asked.reason
    assert node.on_pool(pool_state(2_030.0, 103)) == []
    assert node.on_lp(lp_state(2_030.0, 103, positions=HELD, pending=asked.command_id)) == []
    assert node.on_pool(pool_state(2_040.0, 104)) == []
    # Confirmed at 2,040: that is the new baseline.
    assert confirm(node, asked, 200, 2_040.0) == []
    assert node.on_pool(pool_state(2_055.0, 201)) == []
    assert len(node.on_pool(pool_state(2_061.0, 202))) == 1


def test_either_tokens_depletion_fires_against_the_confirmed_amounts():
    for base, quote, word in ((4 * 10**17, 2_400 * 10**6, "base"), (13 * 10**17, 1_000 * 10**6, "quote")):
        node = placed(depletion_threshold=0.45)
        assert node.on_lp(lp_state(2_005.0, 101, positions=HELD, confirmed=node.confirmed)) == []
        now = lp_state(2_005.0, 102, positions=(lp_position(base, quote),), confirmed=node.confirmed)
        (asked,) = commands(node.on_lp(now))
        assert asked.reason.startswith(f"{word} is used up")


def test_a_token_that_was_not_there_cannot_be_depleted():
    node = make()
    node.on_lp(lp_state())
    (asked,) = commands(node.on_target(target()))
    node.at(START_S + 100)
    only_quote = (lp_position(0, 2_000 * 10**6),)
    assert node.on_lp(lp_state(2_000.0, 100, positions=only_quote, confirmed=asked.command_id)) == []
    assert node.on_lp(lp_state(2_000.0, 101, positions=only_quote, confirmed=asked.command_id)) == []


def test_leaving_the_range_fires():
    node = placed(price_threshold_bps=5_000.0)
    assert node.on_pool(pool_state(2_099.0, 101)) == []
    (asked,) = commands(node.on_pool(pool_state(2_101.0, 102)))
    assert "out of range" in asked.reason


def test_limits_hold_a_trigger_back_until_they_allow_it():
    node = placed(min_interval_s=500.0)
    assert node.on_pool(pool_state(2_050.0, 101)) == []
    node.at(START_S + 501)
    assert len(node.on_pool(pool_state(2_050.0, 501))) == 1

    node = placed(max_per_day=1)
    node.at(START_S + 80_000)
    assert node.on_pool(pool_state(2_050.0, 80_000)) == []
    node.at(START_S + 86_500)
    assert len(node.on_pool(pool_state(2_050.0, 86_500))) == 1


def test_the_days_gas_is_a_limit_that_counts_the_next_rebalance_in():
    node = placed(max_gas_per_day=0.05, min_interval_s=0.0)
    gas = 2 * 10**16
    paid = lp_state(2_000.0, 101, positions=HELD, confirmed=node.confirmed, gas_base=gas)
    node.on_lp(paid)
    (asked,) = commands(node.on_pool(pool_state(2_050.0, 102)))
    assert confirm(node, asked, 200, 2_050.0, gas_base=2 * gas) == []
    # 0.04 spent, and the last cost 0.02: one more would pass 0.05.
    assert node.on_pool(pool_state(2_100.0, 201)) == []


def test_a_command_without_a_sign_is_lost_and_the_trigger_may_fire_again():
    node = placed(retry_s=30.0, min_interval_s=0.0)
    (first,) = commands(node.on_pool(pool_state(2_050.0, 101)))
    node.at(START_S + 129)
    assert node.on_pool(pool_state(2_050.0, 129)) == []
    node.at(START_S + 131)
    (second,) = commands(node.on_pool(pool_state(2_050.0, 131)))
    assert first.command_id != second.command_id


def test_a_silent_input_holds_everything_and_may_take_the_liquidity_out():
    node = placed(retry_s=30.0)
    assert node.input_stale("pool", "hold") == []
    assert node.on_pool(pool_state(2_050.0, 101)) == []
    node.input_recovered("pool")
    assert len(node.on_pool(pool_state(2_050.0, 102))) == 1

    node = placed(retry_s=30.0)
    (asked,) = commands(node.input_stale("pool", "withdraw"))
    assert (asked.action, asked.reason) == ("withdraw", "input pool is silent")
    # Not done: asked again, under a new id.
    (again,) = commands(node.at(START_S + 131))
    assert again.command_id != asked.command_id
    node.on_lp(lp_state(2_000.0, 140, confirmed=again.command_id))
    assert node.at(START_S + 300) == []
    assert node.on_target(target()) == []
    node.input_recovered("pool")
    (back,) = commands(node.on_pool(pool_state(2_000.0, 301)))
    assert back.reason == "no position is open"


def test_the_range_is_moved_along_to_the_price_of_the_decision():
    node = placed()
    (asked,) = commands(node.on_pool(pool_state(2_040.0, 101)))
    assert (asked.price, asked.lower_price, asked.upper_price) == (2_040.0, 1_900.0 * 1.02, 2_100.0 * 1.02)


# --- whether it is worth it ---------------------------------------------------------------------------------------


def test_a_target_that_says_stay_out_is_followed_until_one_advises_a_range():
    node = placed(retry_s=30)
    out = replace(target(), stay_out="fees do not pay")
    (asked,) = commands(node.on_target(out))
    assert (asked.action, asked.reason) == ("withdraw", "fees do not pay")
    assert node.on_target(out) == []
    assert node.on_lp(lp_state(2_000.0, 101, positions=HELD, pending=asked.command_id)) == []
    assert node.on_pool(pool_state(2_100.0, 102)) == []
    assert node.on_lp(lp_state(2_100.0, 113, confirmed=asked.command_id)) == []
    node.at(START_S + 200)
    assert node.on_pool(pool_state(2_100.0, 200)) == []
    (again,) = commands(node.on_target(target()))
    assert (again.action, again.reason) == ("rebalance", "no position is open")


def test_what_is_minted_after_it_was_told_to_stay_out_is_taken_out():
    node = make()
    node.on_lp(lp_state())
    (asked,) = commands(node.on_target(target()))
    assert node.on_target(replace(target(), stay_out="fees do not pay")) == []
    (out,) = commands(confirm(node, asked, 12, 2_000.0))
    assert out.action == "withdraw"


def test_a_silence_that_ends_does_not_end_staying_out():
    node = placed()
    assert len(node.on_target(replace(target(), stay_out="fees do not pay"))) == 1
    node.input_stale("pool", "withdraw")
    node.input_recovered("pool")
    assert node.node.withdrawal == "fees do not pay"


def worth(carry: float | None, price: float = 2_025.0, lower: float = 1_000.0, **params: object) -> bool:
    """Whether a move is asked for: 4,000 quote at stake, the last one cost 0.01 base (20 quote)."""
    node = placed(**params)
    node.node.min_gain, node.node.first_gas = 1.0, 0.01
    node.node.lower_price, node.node.upper_price = lower, 2_020.0
    node.on_target(replace(target(), carry=carry, volatility=0.5))
    return bool(node.on_pool(pool_state(price, 200)))


def test_a_move_has_to_earn_its_cost():
    # ±5 % at 50 % a year lasts 0.01 years: 4,000 quote earn 40 times the carry, and 20 is the cost.
    for carry, asked in ((0.48, 0), (0.52, 1)):
        node = make(min_gain=1.0, first_gas=0.01)
        node.on_target(replace(target(), carry=carry, volatility=0.5))
        assert len(node.on_lp(lp_state(wallet_base=10**18, wallet_quote=2_000 * 10**6))) == asked
    node = make(min_gain=1.0, first_gas=0.01, swap_cost_bps=10)
    node.on_target(replace(target(), carry=0.52, volatility=0.5))
    assert node.on_lp(lp_state(wallet_base=10**18, wallet_quote=2_000 * 10**6)) == []


def test_a_range_that_still_holds_the_price_counts_against_a_new_one():
    assert worth(1.0), "the price has left the range"
    assert worth(5.0, 2_019.9, 1_000.0, price_threshold_bps=50.0)
    assert not worth(1.0, 2_015.0, 100.0, price_threshold_bps=50.0)
    assert not worth(-1.0)


def test_without_an_estimate_it_cannot_be_judged():
    with pytest.raises(NodeFailed, match="estimate: true"):
        worth(None)
