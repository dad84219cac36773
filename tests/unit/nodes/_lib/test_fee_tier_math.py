"""Carry of fee tiers against reference numbers, and the choice between them, or of none."""

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.model_numbers import near, numbers

from nodes._lib.fee_tier import Tier, cautious_volume, choose_tier, net_carry

CASES = numbers("range_fee_hedge")["fee_tiers"]


def carry_of(inputs, tier, **more):
    known = Tier(tier["fee"], tier["uninformed_volume_day"], tier["pool_L"], inputs["rerange_cost_day"], **more)
    return net_carry(
        known,
        liquidity=inputs["L"],
        price=inputs["P"],
        log_vol=inputs["log_vol_per_sqrt_s"],
        block_s=inputs["block_s"],
    )


@pytest.mark.parametrize("case", CASES)
def test_carry_and_best_tier(case):
    nets = {}
    for tier in case["tiers"]:
        carry = carry_of(case["inputs"], tier)
        assert carry.fees == near(tier["fee_income_day"], 1e-10)
        assert carry.lvr == near(tier["lvr_day"], 1e-10)
        assert carry.p_trade == near(tier["p_trade"], 1e-10)
        assert carry.net == near(tier["net_day"], 1e-10)
        assert carry.breakeven_volume == near(tier["breakeven_volume_day"], 1e-10)
        nets[round(tier["fee"] * 1e6)] = carry.net
    best = round(case["best_fee"] * 1e6)
    assert choose_tier(nets, None, enter_cost=0, exit_cost=0, holding_days=1) == best


def test_a_protocol_fee_takes_fees_and_gives_back_no_lvr():
    inputs, tier = CASES[0]["inputs"], CASES[0]["tiers"][1]
    free, charged = carry_of(inputs, tier), carry_of(inputs, tier, protocol_share=0.25)
    assert charged.fees == near(0.75 * free.fees, 1e-12)
    assert charged.arbitrage_loss == near(free.lvr * (free.p_trade + 0.25 * (1 - free.p_trade)), 1e-12)
    assert charged.net < 0 < free.net


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_break_even_volume_breaks_even(share):
    inputs, tier = CASES[0]["inputs"], CASES[0]["tiers"][2]
    volume = carry_of(inputs, tier, protocol_share=share).breakeven_volume
    carry = carry_of(inputs | {"rerange_cost_day": 0.0}, tier | {"uninformed_volume_day": volume}, protocol_share=share)
    assert carry.net == pytest.approx(0, abs=1e-9 * carry.fees)


def test_none_is_an_answer():
    assert choose_tier({500: -1.0, 3000: -2.0}, None, 0, 0, 10) is None
    assert choose_tier({500: -1.0}, 500, enter_cost=5, exit_cost=5, holding_days=10) is None
    assert choose_tier({500: -1.0}, 500, enter_cost=5, exit_cost=15, holding_days=10) == 500  # leaving costs more
    assert choose_tier({500: 1.0}, None, enter_cost=15, exit_cost=5, holding_days=10) is None  # entering does
    assert choose_tier({}, None, 1, 1, 1) is None
    assert choose_tier({}, 500, 1, 1, 1) is None


def test_a_switch_has_to_earn_its_cost_back():
    nets = {500: 100.0, 3000: 103.0}
    assert choose_tier(nets, 500, enter_cost=10, exit_cost=10, holding_days=6) == 500
    assert choose_tier(nets, 500, enter_cost=10, exit_cost=10, holding_days=7) == 3000
    assert choose_tier({500: 100.0, 3000: 100.0}, 3000, 0, 0, 10) == 3000
    assert choose_tier({500: 100.0, 3000: 100.0}, None, 0, 0, 10) == 500


@given(
    st.dictionaries(st.sampled_from([100, 500, 3000, 10000]), st.integers(-1000, 1000), min_size=1),
    st.sampled_from([None, 100, 500, 3000, 10000]),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.integers(1, 100),
)
def test_a_choice_holds_until_something_changes(nets, current, enter, leave, days):
    chosen = choose_tier(nets, current, enter, leave, days)
    assert chosen is None or chosen in nets
    assert choose_tier(nets, chosen, enter, leave, days) == chosen


def test_cautious_volume():
    assert cautious_volume([100.0, 100.0, 100.0]) == 100.0
    assert cautious_volume([80.0, 120.0], z=1.0) == near(80.0, 1e-12)
    assert cautious_volume([0.0, 1000.0], z=3.0) == 0.0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Tier(0.0, 1.0, 1.0), "fee is 0.0"),
        (lambda: Tier(0.01, nan, 1.0), "volume_day is nan"),
        (lambda: Tier(0.01, 1.0, 1.0, protocol_share=1.0), "protocol_share is 1.0"),
        (lambda: net_carry(Tier(0.01, 1, 1), liquidity=0, price=1, log_vol=1, block_s=1), "liquidity is 0"),
        (lambda: cautious_volume([1.0]), "at least two"),
        (lambda: choose_tier({500: nan}, None, 0, 0, 1), "500"),
        (lambda: choose_tier({500: 1.0}, None, 0, 0, 0), "holding_days is 0"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
