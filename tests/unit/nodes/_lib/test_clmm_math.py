"""Position values against 50-digit numbers, the contract's integers and the identities that hold for every range."""

from math import exp, inf, nan, sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.model_numbers import near, numbers

from nodes._lib import clmm

NUMBERS = numbers("clmm_position")


@pytest.mark.parametrize("case", NUMBERS["cases"])
def test_position(case):
    i = case["inputs"]
    _, lower, upper, price = at = i["L"], i["Pa"], i["Pb"], i["P"]
    assert clmm.amounts(*at) == (near(case["x"], 1e-12), near(case["y"], 1e-12))
    assert clmm.value(*at) == near(case["value"], 1e-12)
    assert clmm.delta(*at) == near(case["delta"], 1e-12)
    assert clmm.gamma(*at) == near(case["gamma"], 1e-12)
    # A difference of two values near 1: the last digits of 1 are what can be asked for.
    loss = clmm.impermanent_loss(lower, upper, i["P_entry"], price)
    assert loss == pytest.approx(case["impermanent_loss"], rel=1e-12, abs=2e-16)
    rate = clmm.lvr_rate(*at, i["log_vol"])
    assert rate == near(case["lvr_rate"], 1e-12)
    assert rate / clmm.value(*at) == near(case["lvr_over_value"], 1e-12)


@pytest.mark.parametrize("case", NUMBERS["swaps"])
def test_swap(case):
    i = case["inputs"]
    swap = clmm.swap(i["L"], i["P_before"], i["P_after"], i["fee"])
    assert swap.token_in == {"token0": "base", "token1": "quote"}[case["input_token"]]
    assert swap.amount_in == near(case["amount_in"], 1e-12)
    assert swap.fee_amount == near(case["fee_amount"], 1e-12)
    assert swap.amount_out == near(case["amount_out"], 1e-12)


@pytest.mark.parametrize("case", NUMBERS["p_trade"])
def test_arbitrage_probability(case):
    i = case["inputs"]
    parameters = i["fee"], i["log_vol_per_sqrt_s"], i["block_s"]
    assert clmm.arbitrage_probability(*parameters) == near(case["poisson"], 1e-12)
    assert clmm.arbitrage_probability(*parameters, "constant") == near(case["constant"], 1e-12)


prices = st.floats(1e-4, 1e5)
positions = st.tuples(st.floats(1e-3, 1e9), prices, st.floats(1e-3, 3)).map(lambda p: (p[0], p[1], p[1] * exp(p[2])))
places = st.floats(-0.5, 1.5)  # where the price is: 0 at the lower end, 1 at the upper


def price_at(lower, upper, place):
    return lower * (upper / lower) ** place


@given(positions, places)
def test_amounts_are_not_negative_and_give_back_the_liquidity(position, place):
    liquidity, lower, upper = position
    price = price_at(lower, upper, place)
    base, quote = clmm.amounts(liquidity, lower, upper, price)
    assert base >= 0
    assert quote >= 0
    assume(0.01 < place < 0.99 or not 0 <= place <= 1)
    assert clmm.liquidity_for(base, quote, lower, upper, price) == pytest.approx(liquidity, rel=1e-9)


@given(positions, st.sampled_from([0.0, 1.0]))
def test_value_and_delta_are_continuous_at_the_ends(position, end):
    liquidity, lower, upper = position
    price = (lower, upper)[int(end)]
    below, above = price * (1 - 1e-9), price * (1 + 1e-9)
    assert clmm.value(liquidity, lower, upper, above) == pytest.approx(
        clmm.value(liquidity, lower, upper, below), rel=1e-8
    )
    scale = clmm.delta(liquidity, lower, upper, lower)
    step = clmm.delta(liquidity, lower, upper, above) - clmm.delta(liquidity, lower, upper, below)
    assert abs(step) <= 1e-5 * scale


@given(positions, places)
def test_delta_and_gamma_are_derivatives_of_value(position, place):
    liquidity, lower, upper = position
    assume(min(abs(place), abs(place - 1)) > 0.05)
    price = price_at(lower, upper, place)
    h = price * min(1e-4, (upper / lower - 1) * 0.01)
    value = [clmm.value(liquidity, lower, upper, price + n * h) for n in (-1, 1)]
    slack = 1e-9 * max(abs(v) for v in value) / h
    assert clmm.delta(liquidity, lower, upper, price) == pytest.approx(
        (value[1] - value[0]) / (2 * h), rel=1e-4, abs=slack
    )
    delta = [clmm.delta(liquidity, lower, upper, price + n * h) for n in (-1, 1)]
    slack = 1e-9 * clmm.delta(liquidity, lower, upper, lower) / h
    assert clmm.gamma(liquidity, lower, upper, price) == pytest.approx(
        (delta[1] - delta[0]) / (2 * h), rel=1e-4, abs=slack
    )


@given(positions, places)
def test_the_same_position_seen_from_the_other_token(position, place):
    liquidity, lower, upper = position
    price = price_at(lower, upper, place)
    base, quote = clmm.amounts(liquidity, lower, upper, price)
    other_quote, other_base = clmm.amounts(liquidity, 1 / upper, 1 / lower, 1 / price)
    most = clmm.amounts(liquidity, lower, upper, lower)[0], clmm.amounts(liquidity, lower, upper, upper)[1]
    assert other_base == pytest.approx(base, rel=1e-9, abs=1e-11 * most[0])
    assert other_quote == pytest.approx(quote, rel=1e-9, abs=1e-11 * most[1])


@given(positions, places, places)
def test_impermanent_loss_is_a_loss(position, entry, place):
    _, lower, upper = position
    assert clmm.impermanent_loss(lower, upper, price_at(lower, upper, entry), price_at(lower, upper, place)) <= 1e-12


def test_full_range_losses_have_their_textbook_form():
    lower, upper = 1e-14, 1e14
    for ratio in (0.25, 0.9, 1.1, 4.0):
        assert clmm.impermanent_loss(lower, upper, 1.0, ratio) == near(2 * sqrt(ratio) / (1 + ratio) - 1, 1e-5)
    assert clmm.lvr_rate(5.0, lower, upper, 3.0, 0.8) / clmm.value(5.0, lower, upper, 3.0) == near(0.8**2 / 8, 1e-5)


def test_a_hedged_position_loses_lvr():
    # Hold the position, short its delta, re-hedge at each step: what is lost is the LVR along the path.
    random = np.random.default_rng(11)
    liquidity, lower, upper, vol, dt = 1000.0, 1000.0, 4000.0, 0.01, 1e-3
    losses, expected = [], []
    for _ in range(40):
        price, hedge, lvr = 2000.0, 0.0, 0.0
        for z in random.standard_normal(400):
            later = price * exp(vol * sqrt(dt) * z - vol**2 * dt / 2)
            hedge -= clmm.delta(liquidity, lower, upper, price) * (later - price)
            lvr += clmm.lvr_rate(liquidity, lower, upper, price, vol) * dt
            price = later
        change = clmm.value(liquidity, lower, upper, price) - clmm.value(liquidity, lower, upper, 2000.0)
        losses.append(-(change + hedge))
        expected.append(lvr)
    assert np.mean(losses) == pytest.approx(np.mean(expected), abs=4 * np.std(losses) / sqrt(40))
    assert np.std(losses) / sqrt(40) < 0.05 * np.mean(expected)


@given(st.floats(1, 1e9), prices, st.floats(-0.5, 0.5), st.floats(0, 0.01))
def test_a_swap_moves_what_the_position_holds(liquidity, before, log_move, fee):
    after = before * exp(log_move)
    swap = clmm.swap(liquidity, before, after, fee)
    lower, upper = before / 10, before * 10
    (base0, quote0), (base1, quote1) = (clmm.amounts(liquidity, lower, upper, p) for p in (before, after))
    net_in = swap.amount_in - swap.fee_amount
    into_pool = (base1 - base0, quote1 - quote0)
    expected = (-swap.amount_out, net_in) if swap.token_in == "quote" else (net_in, -swap.amount_out)
    scale = (base0 + base1, quote0 + quote1)
    for got, want, size in zip(into_pool, expected, scale, strict=True):
        assert got == pytest.approx(want, rel=1e-9, abs=1e-12 * size)


def test_path_fees_need_moves_beyond_the_fee_and_stay_in_range():
    position = (1000.0, 1900.0, 2100.0)
    assert clmm.path_fees([2000, 2000.9, 1999.1, 2000], *position, 0.0005) == (0, 0)
    up = clmm.path_fees([2000, 2050], *position, 0.0005)
    assert up == (0, near(clmm.swap(1000.0, 2000, 2050 * 0.9995, 0.0005).fee_amount, 1e-12))
    down = clmm.path_fees([2000, 1950], *position, 0.0005)
    assert down == (near(clmm.swap(1000.0, 2000, 1950 / 0.9995, 0.0005).fee_amount, 1e-12), 0)
    beyond = clmm.path_fees([2000, 3000, 4000], *position, 0.0005)
    assert beyond == (0, near(clmm.swap(1000.0, 2000, 2100, 0.0005).fee_amount, 1e-12))
    assert clmm.path_fees([3000, 4000, 3000], *position, 0.0005) == (0, 0)


def test_liquidity_in_whole_tokens():
    raw = 10**15  # of an ETH-USDC pool: sqrt(1e18 · 1e6) raw units are one
    assert clmm.human_liquidity(raw, 18, 6) == near(1000.0, 1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: clmm.amounts(1.0, 2.0, 1.0, 1.5), "0 < lower < upper"),
        (lambda: clmm.amounts(1.0, 1.0, inf, 1.5), "0 < lower < upper"),
        (lambda: clmm.amounts(-1.0, 1.0, 2.0, 1.5), "liquidity is -1.0"),
        (lambda: clmm.value(1.0, 1.0, 2.0, nan), "price is nan"),
        (lambda: clmm.gamma(1.0, 1.0, 2.0, 0.0), "price is 0.0"),
        (lambda: clmm.lvr_rate(1.0, 1.0, 2.0, 1.5, nan), "log_vol is nan"),
        (lambda: clmm.swap(1.0, 1.0, 2.0, 1.0), "fee is 1.0: give a fraction"),
        (lambda: clmm.swap(1.0, 0.0, 2.0, 0.1), "price_before is 0.0"),
        (lambda: clmm.arbitrage_probability(0.1, 0.0, 12), "log_vol is 0.0"),
        (lambda: clmm.path_fees([1.0, nan], 1.0, 1.0, 2.0, 0.1), "price is nan"),
        (lambda: clmm.liquidity_for(nan, 1.0, 1.0, 2.0, 1.5), "base is nan"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
